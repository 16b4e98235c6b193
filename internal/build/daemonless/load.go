package daemonless

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

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
	n := &node{entry: ocilayout.Entry{Type: h.Typeflag, Mode: h.Mode & 0o7777, UID: h.Uid, GID: h.Gid, Link: h.Linkname, Size: h.Size, XAttrs: xattrs(h)}}
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

func xattrs(h *tar.Header) map[string]string {
	var found map[string]string
	for key, value := range h.PAXRecords {
		if strings.HasPrefix(key, "SCHILY.xattr.") {
			put(&found, key, value)
		}
	}
	return found
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
