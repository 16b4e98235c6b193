package buildable

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"io"
	"path/filepath"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is the numeric id of nonroot, as in the images that people know.
const user = 65532

const (
	passwd = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
	group  = "root:x:0:\nnonroot:x:65532:\n"
)

// writeBase writes the lowest layer as an archive, which keeps modes and owners
// that a folder on this machine might not be able to have.
func writeBase(dir string, created time.Time) error {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	for _, f := range base() {
		f.header.ModTime, f.header.Size = created, int64(len(f.content))
		if err := t.WriteHeader(&f.header); err != nil {
			return err
		}
		if _, err := t.Write(f.content); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, baseName), b.Bytes())
}

// baseFile is a file or folder of the base.
type baseFile struct {
	header  tar.Header
	content []byte
}

// base is the lowest layer of images that begin with nothing, the same for all.
func base() []baseFile {
	home := folder("home/nonroot", 0o700)
	home.header.Uid, home.header.Gid = user, user
	return []baseFile{
		folder("etc", 0o755),
		file("etc/group", group),
		file("etc/passwd", passwd),
		folder("etc/ssl", 0o755),
		folder("etc/ssl/certs", 0o755),
		file("etc/ssl/certs/ca-certificates.crt", string(certificates())),
		folder("home", 0o755),
		home,
		folder("root", 0o700),
		folder("tmp", 0o1777),
	}
}

func folder(name string, mode int64) baseFile {
	return baseFile{header: tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}}
}

func file(name, content string) baseFile {
	return baseFile{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, []byte(content)}
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
