// Package owner checks who could have written a file: it is trusted only if nobody but
// root and the caller can change or replace it. The rule is that of sshd's StrictModes,
// applied to every folder from / to the file and to every symbolic link on the way.
// Others cannot change a path that passes afterwards either, so it may be opened or run
// by name.
package owner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/nationtech/harmony/pkg/protocol"
)

// maxLinks is how many links a path may lead through, as in the kernel.
const maxLinks = 40

// Checker checks paths for one user. It caches the system's groups, so it is meant for
// one command, and is not safe for concurrent use.
type Checker struct {
	// UID is the caller's user id.
	UID int

	groups groups
}

// Check checks a path for the caller. See [Checker.Check].
func Check(path string) error { return (&Checker{UID: os.Getuid()}).Check(path) }

// Check refuses a file or folder that anybody but root and the caller could have written
// or replaced. A folder in which everybody may create files, such as /tmp, is accepted on
// the way if the next element belongs to root or the caller, but not as the last element.
// The error has a hint and no exit status; a missing file is fs.ErrNotExist.
func (c *Checker) Check(path string) error {
	_, err := c.Real(path)
	return err
}

// Real checks a path as Check does, and returns it without links.
func (c *Checker) Real(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	at, err := c.resolve(path)
	if err != nil {
		return "", err
	}
	info, err := os.Lstat(at)
	if err != nil {
		return "", err
	}
	return at, c.writable(at, info)
}

// resolve follows all links of an absolute path and checks every element on the way.
func (c *Checker) resolve(path string) (string, error) {
	at, links := "/", 0
	for rest := "/" + path; rest != ""; {
		var name string
		name, rest, _ = strings.Cut(rest, "/")
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		info, err := os.Lstat(next)
		if err == nil {
			err = c.element(next, info)
		}
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		target, err := os.Readlink(next)
		if links++; err == nil && links > maxLinks {
			err = fmt.Errorf("%s: %w", next, syscall.ELOOP)
		}
		if err != nil {
			return "", err
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = target + "/" + rest // not cleaned: .. is relative to where a link leads
	}
	return at, nil
}

// element checks one element of a path.
func (c *Checker) element(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: its owner is unknown", path)
	}
	if uid := int(stat.Uid); uid != 0 && uid != c.UID {
		return untrusted(fmt.Sprintf("if you trust it: sudo chown -h root %s", quote(path)), "%s belongs to user %d, not to root or you", path, uid)
	}
	if info.Mode()&fs.ModeSymlink != 0 || info.IsDir() && info.Mode()&fs.ModeSticky != 0 {
		return nil
	}
	return c.writable(path, info)
}

// writable refuses a file or folder that others can write.
func (c *Checker) writable(path string, info fs.FileInfo) error {
	mode := info.Mode().Perm()
	who := ""
	if stat, ok := info.Sys().(*syscall.Stat_t); mode&0o020 != 0 && !(ok && c.ownGroup(path, stat.Gid)) {
		who = "g"
	}
	if mode&0o002 != 0 {
		who += "o"
	}
	if who == "" {
		return nil
	}
	return untrusted(fmt.Sprintf("chmod %s-w %s", who, quote(path)), "%s is writable by others (mode %04o)", path, mode)
}

func untrusted(hint, format string, args ...any) error {
	return (&protocol.Error{Err: fmt.Errorf(format, args...)}).WithHint("%s", hint)
}

// IsRefusal distinguishes a file that others could have written from one that could not
// be examined.
func IsRefusal(err error) bool {
	var refused *protocol.Error
	return errors.As(err, &refused)
}
