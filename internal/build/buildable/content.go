package buildable

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"io"
	"os"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/nationtech/harmony/internal/build/layout"
)

// Content is what an image is packed from.
type Content struct {
	Config dockerspec.DockerOCIImage
	// Layers from the lowest up, each with all its entries.
	Layers [][]layout.Entry
}

// user is the numeric id of nonroot, as in the images that people know.
const user = 65532

const (
	passwd = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
	group  = "root:x:0:\nnonroot:x:65532:\n"
)

// content is /app/NAME over the base, run by nonroot.
func (g *Go) content(p ocispec.Platform, name, binary string) (Content, error) {
	info, err := os.Stat(binary)
	if err != nil {
		return Content{}, err
	}
	path := "app/" + name
	program := layout.Entry{Path: path, Type: tar.TypeReg, Mode: 0o755, Size: info.Size(), Open: func() (io.ReadCloser, error) {
		return os.Open(binary)
	}}
	config := dockerspec.DockerOCIImage{}
	config.OS, config.Architecture, config.Variant = p.OS, p.Architecture, p.Variant
	config.Created = &g.Created
	config.Config.User = "65532:65532"
	config.Config.WorkingDir = "/"
	config.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/app"}
	config.Config.Entrypoint = []string{"/" + path}
	config.History = []ocispec.History{
		{Created: &g.Created, CreatedBy: "harmony buildable go: certificates and users"},
		{Created: &g.Created, CreatedBy: "harmony buildable go: " + g.main()},
	}
	return Content{config, [][]layout.Entry{base(), {layout.Dir("app", 0o755), program}}}, nil
}

// base is the lowest layer of every image, the same for all of them.
func base() []layout.Entry {
	home := layout.Dir("home/nonroot", 0o700)
	home.UID, home.GID = user, user
	return []layout.Entry{
		layout.Dir("etc", 0o755),
		layout.File("etc/passwd", 0o644, []byte(passwd)),
		layout.File("etc/group", 0o644, []byte(group)),
		layout.Dir("etc/ssl", 0o755),
		layout.Dir("etc/ssl/certs", 0o755),
		layout.File("etc/ssl/certs/ca-certificates.crt", 0o644, certificates()),
		layout.Dir("home", 0o755),
		home,
		layout.Dir("root", 0o700),
		layout.Dir("tmp", 0o1777),
	}
}

// certificates is the root certificates as PEM. Those that are trusted under a
// condition only are left out, since a file of certificates cannot tell it.
func certificates() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return b.Bytes()
}

// baseDigest identifies the content of the base.
func baseDigest() string {
	h := sha256.New()
	io.WriteString(h, passwd+group)
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			h.Write(root.Certificate)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
