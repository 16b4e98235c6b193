package daemonless

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// unpack places what is in an archive, if the piece is one that is to be unpacked.
// Owners and modes are those of the archive, unless --chown is given. Names and
// links in it cannot lead out of the destination.
func (m *maker) unpack(ctx context.Context, c *copying, w *writer, p piece) (bool, error) {
	if !p.unpack || p.folder || p.items[0].node.entry.Type != tar.TypeReg {
		return false, nil
	}
	archive, reopen, err := m.openArchive(ctx, p.items[0].node.entry.Open)
	if err != nil || archive == nil {
		return false, err
	}
	defer archive.Close()
	dest, err := w.mkdirAll(c.dest, 0o755)
	if err != nil {
		return true, err
	}
	inside := &unpacker{
		writer: &writer{tree: &tree{root: w.tree.at(dest)}, new: w.new, prefix: path.Join(w.prefix, dest)},
		reopen: reopen, chown: c.chown != "", uid: w.uid, gid: w.gid,
	}
	err = eachEntry(ctx, archive, func(h *tar.Header, _ io.Reader) error { return inside.add(h, archive) })
	if err != nil {
		err = fmt.Errorf("%s: %w", p.name, err)
	}
	return true, err
}

// unpacker puts the entries of an archive into a tree.
type unpacker struct {
	*writer
	reopen   opener // the archive, not compressed
	chown    bool
	uid, gid int
}

func (u *unpacker) add(h *tar.Header, archive io.Seeker) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	dir, base := path.Split(rooted(h.Name))
	if base == "" {
		return nil // the destination itself stays as it is
	}
	folder, err := u.mkdirAll(dir, 0o755)
	if err != nil {
		return err
	}
	n, err := u.node(h, archive)
	if err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	if u.chown {
		n.entry.UID, n.entry.GID = u.uid, u.gid
	}
	return u.put(path.Join(folder, base), n)
}

func (u *unpacker) node(h *tar.Header, archive io.Seeker) (*node, error) {
	n, err := u.tree.nodeOf(h)
	switch {
	case err != nil || h.Typeflag == tar.TypeLink:
		return n, err
	case n.entry.Type == tar.TypeChar:
		return nil, protocol.Unsupported("is a device or a pipe, which the adapter daemonless does not unpack").WithHint(otherAdapters)
	case h.Typeflag == tar.TypeGNUSparse, sparse(h):
		return nil, protocol.Unsupported("is a sparse file, which the adapter daemonless does not unpack").WithHint(otherAdapters)
	case h.Typeflag == tar.TypeReg:
		at, err := archive.Seek(0, io.SeekCurrent)
		n.entry.Open = section(u.reopen, at, h.Size)
		return n, err
	}
	return n, nil
}

// sparse reports a file whose holes are not in the archive.
func sparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// opener opens a file.
type opener func() (io.ReadCloser, error)

// file opens what can be read at any offset.
func (o opener) file() (*os.File, error) {
	in, err := o()
	if err != nil {
		return nil, err
	}
	if f, ok := in.(*os.File); ok {
		return f, nil
	}
	return nil, errors.Join(errors.New("not a file on this machine"), in.Close())
}

// section opens a part of a file.
func section(open opener, at, size int64) opener {
	return func() (io.ReadCloser, error) {
		f, err := open.file()
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.NewSectionReader(f, at, size), f}, nil
	}
}
