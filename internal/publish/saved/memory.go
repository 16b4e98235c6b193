package saved

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Memory is the folder that knows which digests the images of daemons got.
type Memory string

// InCache is the memory of a stage.
func InCache(cache string) Memory { return Memory(filepath.Join(cache, "daemon")) }

func (m Memory) file(image protocol.ImageRef) string {
	name := strings.TrimPrefix(image.ID, "sha256:")
	if image.InputDigest != "" { // it is in the manifest
		name += "-" + strings.TrimPrefix(image.InputDigest, "sha256:")
	}
	return filepath.Join(string(m), filepath.Base(name))
}

// Digest is that of the image with the ID and the input; "" when it is unknown.
func (m Memory) Digest(image protocol.ImageRef) string {
	data, err := os.ReadFile(m.file(image))
	if err != nil || checkDigest(string(data)) != nil {
		return ""
	}
	return string(data)
}

// Remember keeps the digest. A cache that cannot be written only costs time, as
// does a file that was not written to its end: it holds no digest.
func (m Memory) Remember(image protocol.ImageRef, digest string) {
	_ = errors.Join(os.MkdirAll(string(m), 0o700), os.WriteFile(m.file(image), []byte(digest), 0o600))
}

func checkDigest(text string) error {
	_, err := v1.NewHash(text)
	return err
}
