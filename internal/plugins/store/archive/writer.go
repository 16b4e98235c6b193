package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// writer writes the entries of one archive and counts them against the limits.
type writer struct {
	ctx    context.Context
	root   *os.Root
	limits Limits

	bytes   int64
	entries int
	// seen are the names so far, in lower case: some file systems do not tell Foo from
	// foo.
	seen map[string]bool
}

// entry checks an entry before it is written, and returns its path.
func (w *writer) entry(name string, mode fs.FileMode) (string, error) {
	clean, err := cleanName(name)
	if err != nil {
		return "", err
	}
	if w.entries++; w.entries > w.limits.Entries {
		return "", fmt.Errorf("the archive has more than %d entries", w.limits.Entries)
	}
	switch {
	case mode&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0:
		return "", fmt.Errorf("entry %s has a setuid, setgid or sticky bit", show(name))
	case !mode.IsDir() && !mode.IsRegular():
		return "", fmt.Errorf("entry %s is %s: only files and folders are allowed", show(name), kindOf(mode))
	}
	if clean == "." && mode.IsDir() {
		return clean, nil
	}
	folded := strings.ToLower(clean)
	if w.seen[folded] {
		return "", fmt.Errorf("the archive has a second entry %s", show(name))
	}
	w.seen[folded] = true
	return clean, nil
}

// folder makes a folder that is an entry.
func (w *writer) folder(name string, mode fs.FileMode) error {
	at, err := w.entry(name, mode|fs.ModeDir)
	if err != nil || at == "." {
		return err
	}
	return within(name, w.root.MkdirAll(at, permFolder))
}

// file writes a file that is an entry, and its parent folders.
func (w *writer) file(name string, mode fs.FileMode, content io.Reader) error {
	at, err := w.entry(name, mode)
	if err != nil {
		return err
	}
	if at == "." {
		return fmt.Errorf("entry %s has no name", show(name))
	}
	if folder := path.Dir(at); folder != "." {
		if err := w.root.MkdirAll(filepath.FromSlash(folder), permFolder); err != nil {
			return within(name, err)
		}
	}
	return within(name, w.write(at, mode, content))
}

func (w *writer) write(at string, mode fs.FileMode, content io.Reader) error {
	perm := fs.FileMode(permFile)
	if mode&executeBits != 0 {
		perm = permProgram
	}
	out, err := w.root.OpenFile(filepath.FromSlash(at), os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, w.counted(content))
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// counted fails when the archive becomes too large or the context ends.
func (w *writer) counted(content io.Reader) io.Reader {
	return readerFunc(func(p []byte) (int, error) {
		if err := w.ctx.Err(); err != nil {
			return 0, err
		}
		n, err := content.Read(p)
		if w.bytes += int64(n); w.bytes > w.limits.Bytes {
			return 0, fmt.Errorf("the archive unpacks to more than %d MiB", w.limits.Bytes>>20)
		}
		return n, err
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// within names the entry in an error.
func within(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("entry %s: %w", show(name), err)
}

// cleanName admits only names of entries inside the folder.
func cleanName(name string) (string, error) {
	switch {
	case name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, unprintable):
		return "", fmt.Errorf("an entry has the name %s, which is not printable text", show(name))
	case len(name) > 1024 || strings.Count(name, "/") > 32:
		return "", fmt.Errorf("the name of entry %s is too long", show(name))
	case strings.HasPrefix(name, "/"):
		return "", fmt.Errorf("entry %s has an absolute path", show(name))
	case strings.ContainsAny(name, `\:`):
		return "", fmt.Errorf("entry %s has a backslash or a colon in its name", show(name))
	case slices.Contains(strings.Split(name, "/"), ".."):
		return "", fmt.Errorf("entry %s leads out of the archive", show(name))
	}
	return path.Clean(name), nil
}

func unprintable(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }

// show quotes a name for a message.
func show(name string) string { return fmt.Sprintf("%q", name[:min(len(name), longestShown)]) }

func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeSymlink != 0:
		return "a link"
	case mode&(fs.ModeDevice|fs.ModeCharDevice) != 0:
		return "a device"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	}
	return "not a file"
}
