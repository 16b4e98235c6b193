package daemonless

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/base"
	"github.com/nationtech/harmony/internal/ocilayout"
)

const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// load reads the file system of a base image. A layer is used once its digest is
// verified.
func load(ctx context.Context, r base.Registry, b *base.Image) (*tree, error) {
	t := newTree()
	for i, l := range b.Layers {
		t.layer = i
		var entries []*tar.Header
		err := r.Read(ctx, b.Repository, l.Descriptor, func(in io.Reader) error {
			entries = entries[:0]
			return readLayer(ctx, in, func(h *tar.Header, _ io.Reader) error {
				entries = append(entries, h)
				return nil
			})
		})
		for _, h := range entries {
			if err == nil {
				err = t.add(h, &origin{b, l.Descriptor.Digest, h.Name})
			}
		}
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", l.Descriptor.Digest, err)
		}
	}
	return t, nil
}

// readLayer calls f for each entry of a layer, with a clean path from the root.
func readLayer(ctx context.Context, in io.Reader, f func(*tar.Header, io.Reader) error) error {
	plain, _, err := decompress(ctx, in)
	if err != nil {
		return err
	}
	defer plain.Close()
	return eachEntry(ctx, plain, func(h *tar.Header, content io.Reader) error {
		h.Name = rooted(h.Name)
		return f(h, content)
	})
}

// eachEntry calls f for each entry of an archive.
func eachEntry(ctx context.Context, in io.Reader, f func(*tar.Header, io.Reader) error) error {
	for t := tar.NewReader(in); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = f(h, t)
		}
		if err != nil {
			return err
		}
	}
}

// rooted is a clean path from the root, without a slash before it.
func rooted(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// add puts an entry of a layer into the tree, or removes what a whiteout names.
func (t *tree) add(h *tar.Header, from *origin) error {
	dir, base := path.Split(h.Name)
	where, parent, err := t.resolve(dir, true)
	if err != nil {
		return err
	}
	if parent == nil {
		if err = t.makeAll(where); err != nil {
			return err
		}
		parent = t.at(where)
	}
	switch {
	case !parent.isDir():
		return fmt.Errorf("/%s is in something that is not a folder", h.Name)
	case base == opaque:
		parent.hideOld(t.layer)
		return nil
	case strings.HasPrefix(base, whiteout):
		name := strings.TrimPrefix(base, whiteout)
		if child := parent.children[name]; child != nil && child.layer < t.layer {
			delete(parent.children, name)
		}
		return nil
	}
	n, err := t.nodeOf(h)
	if err != nil {
		return fmt.Errorf("/%s %w", h.Name, err)
	}
	n.layer = t.layer
	if h.Typeflag == tar.TypeReg || h.Typeflag == tar.TypeGNUSparse {
		n.origin = from
	}
	return t.put(path.Join(where, base), n)
}

// hideOld removes what lower layers put into a folder. Entries of the same layer
// may have come before.
func (n *node) hideOld(layer int) {
	for name, child := range n.children {
		if child.layer < layer {
			delete(n.children, name)
			continue
		}
		child.hideOld(layer)
	}
}

// nodeOf makes the node of an entry. Devices and the like, which are never
// copied, all become a tar.TypeChar. Its error is for the entry's name.
func (t *tree) nodeOf(h *tar.Header) (*node, error) {
	n := &node{entry: ocilayout.Entry{Type: h.Typeflag, Mode: h.Mode & 0o7777, UID: h.Uid, GID: h.Gid, Link: h.Linkname, Size: h.Size, XAttrs: maps.Clone(h.PAXRecords)}}
	maps.DeleteFunc(n.entry.XAttrs, func(key, _ string) bool { return !strings.HasPrefix(key, "SCHILY.xattr.") })
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		n.entry.Type = tar.TypeReg
	case tar.TypeDir:
		n.children = map[string]*node{}
	case tar.TypeSymlink:
		n.entry.Mode = 0o777
	case tar.TypeLink:
		_, target, err := t.resolve(h.Linkname, false)
		if err == nil && (target == nil || target.isDir()) {
			err = fmt.Errorf("is a hard link to %s, which is not a file", h.Linkname)
		}
		if err != nil {
			return nil, err
		}
		same := *target
		return &same, nil
	default:
		n.entry.Type = tar.TypeChar
	}
	return n, nil
}

// makeAll makes the folders of a path that are missing.
func (t *tree) makeAll(name string) error {
	if t.at(name) != nil {
		return nil
	}
	if err := t.makeAll(rooted(path.Dir(name))); err != nil {
		return err
	}
	return t.put(name, &node{entry: ocilayout.Dir("", 0o755), children: map[string]*node{}, layer: t.layer})
}

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
