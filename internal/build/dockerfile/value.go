package dockerfile

import (
	"io/fs"
	"strconv"

	"github.com/nationtech/harmony/internal/build/inputs"
)

// Checkout is the mode that a checkout gives whatever the umask is: 0755 for
// folders and for files that their owner can execute, 0644 for other files.
func (e Entry) Checkout() fs.FileMode { return Checkout(e.Info.Mode()) }

// Checkout is the mode of [Entry.Checkout].
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
