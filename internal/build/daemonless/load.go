package daemonless

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/base"
	"github.com/nationtech/harmony/internal/ocilayout"
)

const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// load reads the file system of a base image. A layer counts when it is known to
// be the one that its digest names.
func load(ctx context.Context, r base.Registry, b *base.Image) (*tree, error) {
	t := newTree()
	for i, l := range b.Layers {
		t.layer = i
		var entries []*tar.Header
		err := r.Read(ctx, b.Repository, l.Descriptor, func(in io.Reader) error {
			entries = entries[:0]
			return readLayer(ctx, in, l.Descriptor.MediaType, func(h *tar.Header, _ io.Reader) error {
				entries = append(entries, h)
				return nil
			})
		})
		for _, h := range entries {
			if err == nil {
				err = t.add(h, l.Descriptor.Digest)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("layer %s: %w", l.Descriptor.Digest, err)
		}
	}
	return t, nil
}

// readLayer calls f for each entry of a layer, with a clean path from the root.
func readLayer(ctx context.Context, in io.Reader, mediaType string, f func(*tar.Header, io.Reader) error) error {
	plain, err := decompress(bufio.NewReaderSize(in, 256<<10), mediaType)
	if err != nil {
		return err
	}
	defer plain.Close()
	for t := tar.NewReader(plain); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		h.Name = strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if err := f(h, t); err != nil {
			return err
		}
	}
}

func decompress(r io.Reader, mediaType string) (io.ReadCloser, error) {
	switch mediaType {
	case ocispec.MediaTypeImageLayerGzip:
		return gzip.NewReader(r)
	case ocispec.MediaTypeImageLayerZstd:
		z, err := zstd.NewReader(r)
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// add puts an entry of a layer into the tree, or takes away what a whiteout
// names.
func (t *tree) add(h *tar.Header, layer digest.Digest) error {
	dir, base := path.Split(h.Name)
	where, parent, err := t.resolve(dir, true)
	if err != nil {
		return err
	}
	if parent == nil {
		if parent, err = t.makeAll(where); err != nil {
			return err
		}
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
	n, err := t.nodeOf(h, layer)
	if err != nil {
		return err
	}
	n.layer = t.layer
	return t.put(path.Join(where, base), n)
}

// hideOld takes away what is in a folder from lower layers. What the same layer
// puts into it may have come before.
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
// copied, all become a tar.TypeChar.
func (t *tree) nodeOf(h *tar.Header, layer digest.Digest) (*node, error) {
	n := &node{entry: ocilayout.Entry{Type: h.Typeflag, Mode: h.Mode & 0o7777, UID: h.Uid, GID: h.Gid, Link: h.Linkname, Size: h.Size, XAttrs: xattrs(h)}}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		n.entry.Type = tar.TypeReg
		n.origin = &origin{layer, h.Name}
	case tar.TypeDir:
		n.children = map[string]*node{}
	case tar.TypeSymlink:
	case tar.TypeLink:
		_, target, err := t.resolve(h.Linkname, false)
		if err != nil {
			return nil, err
		}
		if target == nil || target.isDir() {
			return nil, fmt.Errorf("/%s is a hard link to /%s, which is no file", h.Name, h.Linkname)
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

// makeAll makes the folders of a path that are not there.
func (t *tree) makeAll(name string) (*node, error) {
	at, n := "", t.root
	for part := range strings.SplitSeq(name, "/") {
		if part == "" {
			continue
		}
		at = path.Join(at, part)
		child := n.children[part]
		if child == nil {
			child = &node{entry: ocilayout.Dir("", 0o755), children: map[string]*node{}, layer: t.layer}
			n.children[part] = child
		}
		if !child.isDir() {
			return nil, fmt.Errorf("/%s is not a folder", at)
		}
		n = child
	}
	return n, nil
}
