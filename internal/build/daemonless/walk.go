package daemonless

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/moby/patternmatcher"
)

// maxLinks is how many symbolic links are followed for one path.
const maxLinks = 40

func isNotDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }

// load reads what is to be copied from a path: the file, or all that is in the
// folder. A symbolic link is followed, inside of the context only. It is nil
// when the ignore file leaves nothing of it.
func (c *buildContext) load(name string) (*source, error) {
	real, err := c.follow(name)
	if err != nil {
		return nil, err
	}
	info, err := c.root.Lstat(dot(real))
	if err != nil {
		return nil, err
	}
	s := &source{name: path.Base(name), folder: info.IsDir()}
	ignored, match, err := c.ignored(real)
	if err != nil {
		return nil, err
	}
	if s.folder {
		s.files, err = c.walk(real, "", ignored, match)
		if err == nil && ignored && len(s.files) == 0 {
			return nil, nil
		}
		return s, err
	}
	if ignored {
		return nil, nil
	}
	f, err := c.file(real, "", info)
	s.files = []contextFile{f}
	return s, err
}

// follow resolves the symbolic links of a path, component by component. Each
// has to stay inside of the context; an absolute one does not.
func (c *buildContext) follow(name string) (string, error) {
	done, rest, links := "", strings.Split(name, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			if done == "" {
				return "", fmt.Errorf("%s is a symbolic link that leads out of the context", name)
			}
			done = strings.TrimPrefix(path.Dir("/"+done), "/")
			continue
		}
		next := path.Join(done, part)
		info, err := c.root.Lstat(next)
		if err != nil {
			return "", err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			done = next
			continue
		}
		target, err := c.root.Readlink(next)
		if err != nil {
			return "", err
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: too many symbolic links", name)
		}
		if path.IsAbs(target) {
			return "", fmt.Errorf("%s is a symbolic link to %s, which leads out of the context", next, target)
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return done, nil
}

// walk lists what is in a folder, below the path at. A folder that is ignored
// appears when something in it is not.
func (c *buildContext) walk(dir, at string, ignored bool, match patternmatcher.MatchInfo) ([]contextFile, error) {
	if ignored && !c.ignore.Exclusions() {
		return nil, nil
	}
	entries, err := c.readDir(dir)
	if err != nil {
		return nil, err
	}
	var files []contextFile
	for _, e := range entries {
		name, below := path.Join(dir, e.Name()), path.Join(at, e.Name())
		skip, info := false, match
		if c.ignore != nil {
			if skip, info, err = c.ignore.MatchesUsingParentResults(name, match); err != nil {
				return nil, err
			}
		}
		if skip && !e.IsDir() {
			continue
		}
		stat, err := e.Info()
		if err != nil {
			return nil, err
		}
		f, err := c.file(name, below, stat)
		if err != nil {
			return nil, err
		}
		if !e.IsDir() {
			files = append(files, f)
			continue
		}
		inside, err := c.walk(name, below, skip, info)
		if err != nil {
			return nil, err
		}
		if !skip || len(inside) > 0 {
			files = append(append(files, f), inside...)
		}
	}
	return files, nil
}

// file describes one entry. Its mode is what a checkout gives whatever the
// umask is.
func (c *buildContext) file(name, below string, info fs.FileInfo) (contextFile, error) {
	f := contextFile{path: below, host: filepath.Join(c.dir, filepath.FromSlash(name)), kind: info.Mode().Type(), mode: 0o644}
	switch f.kind {
	case 0:
		f.size = info.Size()
		if info.Mode()&0o100 != 0 {
			f.mode = 0o755
		}
	case fs.ModeDir:
		f.mode = 0o755
	case fs.ModeSymlink:
		link, err := os.Readlink(f.host)
		f.link, f.mode = link, 0o777
		return f, err
	default:
		return f, fmt.Errorf("%s is neither a file, a folder nor a symbolic link (%s)", name, kindName(f.kind))
	}
	return f, nil
}

func kindName(kind fs.FileMode) string {
	switch kind & fs.ModeType {
	case fs.ModeNamedPipe:
		return "a named pipe"
	case fs.ModeSocket:
		return "a socket"
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		return "a device"
	}
	return "of an unknown kind"
}
