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

// Digest is that of the image with the ID and the input.
func (m Memory) Digest(image protocol.ImageRef) (string, bool) {
	data, err := os.ReadFile(m.file(image))
	if err != nil || checkDigest(string(data)) != nil {
		return "", false
	}
	return string(data), true
}

// Remember keeps it.
func (m Memory) Remember(image protocol.ImageRef, digest string) error {
	if err := os.MkdirAll(string(m), 0o700); err != nil {
		// A cache that cannot be written to only costs time.
		return nil //nolint:nilerr // see above
	}
	return WriteWhole(m.file(image), []byte(digest))
}

func checkDigest(text string) error {
	_, err := v1.NewHash(text)
	return err
}

// WriteWhole writes a file that is seen whole or not at all.
func WriteWhole(file string, data []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(data)
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}
