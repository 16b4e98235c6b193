package dockerfile

import (
	"archive/tar"
	"io"
	"io/fs"
	"strconv"

	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/ocilayout"
)

// Layered is the entry as one of a layer, owned by root, under its Name.
func (e Entry) Layered() ocilayout.Entry {
	l := ocilayout.Entry{Path: e.Name, Type: tar.TypeReg, Mode: e.Mode, Link: e.Link}
	switch e.Kind {
	case fs.ModeDir:
		l.Type = tar.TypeDir
	case fs.ModeSymlink:
		l.Type = tar.TypeSymlink
	default:
		l.Size = e.Info.Size()
		l.Open = func() (io.ReadCloser, error) { return e.Open() }
	}
	return l
}

// Checkout is the mode that a file has after a checkout, but for the umask: 0755 for
// folders and for files that their owner can execute, 0644 for other files.
func Checkout(m fs.FileMode) fs.FileMode {
	if m.IsDir() || m&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

// Value changes with whatever of the entry can be in an image: its kind and
// mode, and the content of a file or the target of a link. Times and owners are
// not a part of it: they differ between checkouts.
func (e Entry) Value(digests *inputs.Digests) (string, error) {
	switch {
	case e.Implied && e.Info == nil:
		return "folder", nil
	case e.Kind == fs.ModeDir:
		return "folder " + strconv.FormatInt(e.Mode, 8), nil
	case e.Kind == fs.ModeSymlink:
		return "link " + e.Link, nil
	}
	sum, err := digests.Known(e.Host, e.Info, e.Open)
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(e.Mode, 8) + " " + sum, nil
}
