// Package owner checks who could have written a file: it is trusted only if nobody but
// root and the caller can change or replace it. The rule is that of sshd's StrictModes,
// applied to every folder from / to the file and to every symbolic link on the way.
// Others cannot change a path that passes afterwards either, so it may be opened or run
// by name.
package owner

import (
	"cmp"
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

// Checker checks paths for one user. It caches folders, so it is meant for one command,
// and is not safe for concurrent use.
type Checker struct {
	// UID is the caller's user id.
	UID int

	seen   map[string]answer
	groups groups
}

// answer is the result of resolving a path.
type answer struct {
	path string
	info fs.FileInfo
	err  error
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
	found := c.resolve(path, 0)
	if found.err != nil {
		return "", found.err
	}
	return found.path, c.writable(found.path, found.info)
}

// resolve follows all links of a path and checks every element on the way.
func (c *Checker) resolve(path string, links int) answer {
	if known, ok := c.seen[path]; ok {
		return known
	}
	if c.seen == nil {
		c.seen = map[string]answer{}
	}
	found := c.follow(path, links)
	c.seen[path] = found
	return found
}

func (c *Checker) follow(path string, links int) answer {
	folder, name := "", ""
	if path != "/" {
		folder, name = split(path)
		above := c.resolve(folder, links)
		if above.err != nil || name == "." {
			return above
		}
		folder = above.path
	}
	if name == ".." {
		return c.resolve(filepath.Dir(folder), links)
	}
	at := filepath.Join("/", folder, name)
	info, err := os.Lstat(at)
	if err == nil {
		err = c.element(at, info)
	}
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return answer{at, info, err}
	}
	target, err := os.Readlink(at)
	if links++; err == nil && links > maxLinks {
		err = fmt.Errorf("%s: %w", at, syscall.ELOOP)
	}
	if err != nil {
		return answer{err: err}
	}
	if !filepath.IsAbs(target) {
		target = folder + "/" + target // not cleaned: .. is relative to where a link leads
	}
	return c.resolve(target, links)
}

// split cuts the last element off an absolute path that may not be clean.
func split(path string) (folder, name string) {
	folder, name = filepath.Split("/" + strings.Trim(path, "/"))
	return cmp.Or(strings.TrimRight(folder, "/"), "/"), cmp.Or(name, ".")
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
