package buildable

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/nationtech/harmony/internal/ocilayout"
)

// user is the numeric id of nonroot, the usual one.
const (
	user    = 65532
	nonroot = "65532:65532"
)

// scratch is the name of the empty image, and defaultPath the PATH there.
const (
	scratch     = "scratch"
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

const (
	passwd = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
	group  = "root:x:0:\nnonroot:x:65532:\n"
)

// writeBase writes the lowest layer as an archive, which keeps modes and owners that a
// folder on this machine might not be able to have.
func writeBase(ctx context.Context, dir string, created time.Time) error {
	home := ocilayout.Dir("home/nonroot", 0o700)
	home.UID, home.GID = user, user
	var b bytes.Buffer
	err := ocilayout.WriteTar(ctx, &b, []ocilayout.Entry{
		ocilayout.Dir("etc", 0o755),
		ocilayout.File("etc/group", 0o644, []byte(group)),
		ocilayout.File("etc/passwd", 0o644, []byte(passwd)),
		ocilayout.Dir("etc/ssl", 0o755),
		ocilayout.Dir("etc/ssl/certs", 0o755),
		ocilayout.File("etc/ssl/certs/ca-certificates.crt", 0o644, certificates()),
		ocilayout.Dir("home", 0o755),
		home,
		ocilayout.Dir("root", 0o700),
		ocilayout.Dir("tmp", 0o1777),
	}, created)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, baseName), b.Bytes())
}

// certificates are the root certificates as PEM. Those that are trusted only under a
// condition are left out, since a file of certificates cannot express it.
func certificates() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return b.Bytes()
}

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

// checkBase refuses a base without a digest, with the line to write instead.
func (o Options) checkBase(ctx context.Context) error {
	base := o.App.Image.Buildable.Base
	if base == "" || base == scratch {
		return nil
	}
	parsed, err := reference.ParseNormalizedNamed(base)
	if err != nil {
		return o.invalid("base", "%q: %v", base, err)
	}
	if _, pinned := parsed.(reference.Digested); pinned {
		return nil
	}
	wrong := o.invalid("base", "%s has no digest, so it could be another image tomorrow", base)
	if o.Digest == nil {
		return wrong.WithHint("write base: %s@sha256:…", base)
	}
	sum, err := o.Digest(ctx, base)
	if err != nil {
		return wrong.WithHint("write base: %s@sha256:…; its digest could not be looked up: %v", base, err)
	}
	return wrong.WithHint("write base: %s@%s", base, sum)
}

// checkUser refuses names that an empty image does not have.
func (o Options) checkUser() error {
	b := *o.App.Image.Buildable
	if b.Base != "" && b.Base != scratch {
		return nil
	}
	for name := range strings.SplitSeq(b.User, ":") {
		if _, err := strconv.Atoi(name); err != nil && !slices.Contains([]string{"", "root", "nonroot"}, name) {
			return o.invalid("user", "an empty image has no %s", name).WithHint("write a number, for example 1000:1000, or set base to an image that has %s", name)
		}
	}
	return nil
}
