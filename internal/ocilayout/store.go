// Package ocilayout packs images into OCI layout folders, and keeps those in a
// cache by the digest of what they were made from.
//
// What it writes depends on its arguments only: entries are sorted, times are
// the one time given, there are no user names, and compression gives the same
// bytes however many processors there are. Memory does not grow with the size
// of an image: layers go through to files.
//
// A layout folder appears under its final name when it is complete.
package ocilayout

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/flate"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/cli/cachedir"
)

const (
	// keep is how many layouts of an app stay in any case.
	keep = 5
	// pruneAge is how long any other was not used before it is removed; no
	// other run can be working with it still.
	pruneAge = 24 * time.Hour
)

// Store is a folder of layouts: one folder for each app, in it one for each
// digest of an input.
type Store struct {
	// Dir need not exist.
	Dir string
	// Stored leaves layers uncompressed inside of their gzip: there are tools that
	// read no other layers (crane validate).
	Stored bool
}

// level is that of the compression of layers.
func (s Store) level() int {
	if s.Stored {
		return flate.NoCompression
	}
	return level
}

// Image is a complete layout in a store.
type Image struct {
	// Path of the layout folder, absolute if the store's is.
	Path string
	// Digest of the one manifest or index in it: sha256:…
	Digest string
	// Platforms lists what is in it, as os/arch or os/arch/variant.
	Platforms []string
}

// Begin makes a new draft for an app.
func (s Store) Begin(app string) (*Draft, error) {
	parent := filepath.Join(s.Dir, app)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(parent, ".new-*")
	if err != nil {
		return nil, err
	}
	return &Draft{dir: dir, app: app, store: s}, os.MkdirAll(filepath.Join(dir, ocispec.ImageBlobsDir, "sha256"), 0o700)
}

// path of the layout of an input, whose digest is sha256:… or bare hex.
func (s Store) path(app, input string) string {
	return filepath.Join(s.Dir, app, strings.TrimPrefix(input, "sha256:"))
}

// Find returns the layout made from this input. One that is not whole is as
// good as none. The layout counts as used now.
func (s Store) Find(app, input string) (Image, bool) {
	path := s.path(app, input)
	image, err := open(path)
	if err != nil {
		return Image{}, false
	}
	now := time.Now()
	// A cache that cannot be written to still serves.
	_ = os.Chtimes(path, now, now)
	return image, true
}

// publish gives a finished draft its name, unless the same image is there
// already.
func (s Store) publish(draft, app, input string, root digest.Digest) (Image, error) {
	if err := os.RemoveAll(filepath.Join(draft, scratch)); err != nil {
		return Image{}, err
	}
	path := s.path(app, input)
	image, err := open(path)
	if err != nil || image.Digest != root.String() || Verify(path, hashOf) != nil {
		if err := s.replace(draft, path); err != nil {
			return Image{}, err
		}
	}
	image, err = open(path)
	if err != nil {
		return Image{}, fmt.Errorf("layout just written: %w", err)
	}
	return image, s.prune(app)
}

// replace renames the draft to path. What is there, a damaged layout or an older
// image, is moved out of the way first.
func (s Store) replace(draft, path string) error {
	broken := draft + ".old"
	err := os.Rename(path, broken)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil {
		defer os.RemoveAll(broken)
	}
	err = os.Rename(draft, path)
	if err != nil {
		// Another run may have been here in between.
		if _, valid := open(path); valid == nil {
			return nil
		}
	}
	return err
}

// prune removes the layouts of an app that are neither among the newest nor
// used within the last day, and what interrupted runs left behind.
func (s Store) prune(app string) error {
	dir := filepath.Join(s.Dir, app)
	err := errors.Join(cachedir.Prune(dir, strings.Repeat("?", 64), keep, pruneAge), cachedir.Prune(dir, ".new-*", 0, pruneAge))
	if err != nil {
		return fmt.Errorf("remove old images: %w", err)
	}
	return nil
}

// open reads a layout and makes sure that every blob has its size, but for layers
// that are elsewhere.
func open(path string) (Image, error) {
	c, err := Read(path, "")
	if err == nil {
		err = c.complete()
	}
	if err != nil {
		return Image{}, err
	}
	names, err := c.platforms()
	return Image{Path: path, Digest: c.Manifests[len(c.Manifests)-1].Digest.String(), Platforms: names}, err
}

// Verify compares every blob in a layout folder with its digest. sum returns the
// sha256 of a file in hex; it may remember those of files that did not change.
func Verify(dir string, sum func(file string) (string, error)) error {
	folder := filepath.Join(dir, ocispec.ImageBlobsDir, string(digest.SHA256))
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		got, err := sum(filepath.Join(folder, e.Name()))
		if err != nil {
			return err
		}
		if got != e.Name() {
			return fmt.Errorf("blob sha256:%s does not match its digest", e.Name())
		}
	}
	return nil
}

func hashOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum, err := digest.SHA256.FromReader(f)
	return sum.Encoded(), err
}

// PlatformStrings are those of a list, in its order.
func PlatformStrings(list []ocispec.Platform) []string {
	var names []string
	for _, p := range list {
		names = append(names, PlatformString(p))
	}
	return names
}

// PlatformString is os/arch or os/arch/variant.
func PlatformString(p ocispec.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}
