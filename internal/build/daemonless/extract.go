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

	"github.com/nationtech/harmony/internal/build/base"
)

// extract makes the contents of files of a base image available: it writes them
// to files of the folder, and gives their nodes a way to open them. Each layer
// is read once.
func extract(ctx context.Context, r base.Registry, b *base.Image, nodes []*node, folder string) error {
	wanted := map[digest.Digest]map[string][]*node{}
	for _, n := range nodes {
		if n.origin == nil || n.entry.Open != nil {
			continue
		}
		if wanted[n.origin.layer] == nil {
			wanted[n.origin.layer] = map[string][]*node{}
		}
		wanted[n.origin.layer][n.origin.path] = append(wanted[n.origin.layer][n.origin.path], n)
	}
	for _, l := range b.Layers {
		files := wanted[l.Descriptor.Digest]
		if len(files) == 0 {
			continue
		}
		blob, err := r.Blob(ctx, b.Repository, l.Descriptor.Digest)
		if err != nil {
			return err
		}
		dir, err := os.MkdirTemp(folder, "base-*")
		if err != nil {
			return err
		}
		count := 0
		err = readLayer(ctx, blob, l.Descriptor.MediaType, func(h *tar.Header, content io.Reader) error {
			if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse || files[h.Name] == nil {
				return nil
			}
			count++
			return save(filepath.Join(dir, strconv.Itoa(count)), content, files[h.Name])
		})
		if err != nil {
			return fmt.Errorf("layer %s: %w", l.Descriptor.Digest, err)
		}
	}
	return nil
}

func save(path string, content io.Reader, nodes []*node) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, content)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, node := range nodes {
		node.entry.Size = n
		node.entry.Open = func() (io.ReadCloser, error) { return os.Open(path) }
	}
	return nil
}
