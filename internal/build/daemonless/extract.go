package daemonless

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/base"
)

// extract makes the contents of files of a base image available: it writes them to
// temporary files, and gives their nodes a way to open them. Each layer is read
// once.
func (m *maker) extract(ctx context.Context, nodes []*node) error {
	wanted := map[digest.Digest]map[string][]*node{}
	var b *base.Image // the same for all: files of other images have been extracted
	for _, n := range nodes {
		if n.origin == nil || n.entry.Open != nil {
			continue
		}
		b = n.origin.image
		if wanted[n.origin.layer] == nil {
			wanted[n.origin.layer] = map[string][]*node{}
		}
		wanted[n.origin.layer][n.origin.path] = append(wanted[n.origin.layer][n.origin.path], n)
	}
	if b == nil {
		return nil
	}
	for _, l := range b.Layers {
		files := wanted[l.Descriptor.Digest]
		if len(files) == 0 {
			continue
		}
		if err := m.extractLayer(ctx, b, l.Descriptor, files); err != nil {
			return fmt.Errorf("layer %s: %w", l.Descriptor.Digest, err)
		}
	}
	return nil
}

// extractLayer writes the wanted files of a layer. The nodes get them once the
// layer's digest is verified.
func (m *maker) extractLayer(ctx context.Context, b *base.Image, layer ocispec.Descriptor, wanted map[string][]*node) error {
	folder, err := m.draft.Dir()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(folder, "base-*")
	if err != nil {
		return err
	}
	var saved map[string]string // by path in the layer, of which the last entry counts
	err = m.recipe.registry.Read(ctx, b.Repository, layer, func(in io.Reader) error {
		saved = map[string]string{}
		return readLayer(ctx, in, func(h *tar.Header, content io.Reader) error {
			if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse || wanted[h.Name] == nil {
				return nil
			}
			if saved[h.Name] == "" {
				saved[h.Name] = filepath.Join(dir, strconv.Itoa(len(saved)))
			}
			return save(saved[h.Name], content)
		})
	})
	if err != nil {
		return err
	}
	for name, file := range saved {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		for _, node := range wanted[name] {
			node.entry.Size = info.Size()
			node.entry.Open = func() (io.ReadCloser, error) { return os.Open(file) }
		}
	}
	return nil
}

func save(path string, content io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}
