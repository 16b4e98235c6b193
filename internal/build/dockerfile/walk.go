package dockerfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/moby/patternmatcher"
	"golang.org/x/sync/errgroup"
)

// maxLinks is how many symbolic links are followed for one path.
const maxLinks = 40

func isNotDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }

// load reads what is to be copied from a path: the file, or all that is in the
// folder. A symbolic link is followed, inside of the context only. It is nil
// when the ignore file leaves nothing of it.
func (f *Folder) load(ctx context.Context, name string) (*Source, error) {
	real, err := f.follow(name)
	if err != nil {
		return nil, err
	}
	info, err := f.root.Lstat(dot(real))
	if err != nil {
		return nil, err
	}
	s := &Source{Name: path.Base(name), Folder: info.IsDir()}
	ignored, match, err := f.ignored(real)
	if err != nil {
		return nil, err
	}
	if s.Folder {
		s.Entries, err = f.walk(ctx, real, "", ignored, match)
		if err == nil && ignored && len(s.Entries) == 0 {
			return nil, nil
		}
		return s, err
	}
	if ignored {
		return nil, nil
	}
	e, err := f.entry(real, "", info)
	s.Entries = []Entry{e}
	return s, err
}

// follow resolves the symbolic links of a path, component by component. Each
// has to stay inside of the context; an absolute one does not.
func (f *Folder) follow(name string) (string, error) {
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
		info, err := f.root.Lstat(next)
		if err != nil {
			return "", err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			done = next
			continue
		}
		target, err := f.root.Readlink(next)
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

// Entries are all that the ignore file leaves of the context, a folder before
// what is in it, in an order that is the same everywhere.
func (f *Folder) Entries(ctx context.Context) ([]Entry, error) {
	return f.walk(ctx, "", "", false, patternmatcher.MatchInfo{})
}

// step is one entry of a folder that is being walked.
type step struct {
	Entry
	// inside is what is in a folder; skip is set for one that is ignored.
	inside []Entry
	skip   bool
}

// walk lists what is in a folder, below the path at. A folder that is ignored
// appears when something in it is not.
func (f *Folder) walk(ctx context.Context, dir, at string, ignored bool, match patternmatcher.MatchInfo) ([]Entry, error) {
	if ignored && !f.exclusions {
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	items, err := f.readDir(dir)
	if err != nil {
		return nil, err
	}
	steps := make([]step, 0, len(items))
	infos := make([]patternmatcher.MatchInfo, 0, len(items))
	for _, item := range items {
		name := path.Join(dir, item.Name())
		skip, info, err := f.matches(name, match)
		if err != nil {
			return nil, err
		}
		if skip && !item.IsDir() || item.Type() == fs.ModeSocket {
			continue
		}
		stat, err := item.Info()
		if err != nil {
			return nil, err
		}
		e, err := f.entry(name, path.Join(at, item.Name()), stat)
		if err != nil {
			return nil, err
		}
		steps, infos = append(steps, step{Entry: e, skip: skip}), append(infos, info)
	}
	err = f.descend(ctx, steps, func(ctx context.Context, i int) ([]Entry, error) {
		s := steps[i]
		return f.walk(ctx, path.Join(dir, path.Base(s.Path)), s.Path, s.skip, infos[i])
	})
	return collect(steps), err
}

// descend walks the folders among the steps, side by side as far as processors
// are free.
func (f *Folder) descend(ctx context.Context, steps []step, walk func(context.Context, int) ([]Entry, error)) error {
	group, ctx := errgroup.WithContext(ctx)
	var first error
	for i := range steps {
		if steps[i].Kind != fs.ModeDir || first != nil {
			continue
		}
		enter := func() (err error) {
			steps[i].inside, err = walk(ctx, i)
			return err
		}
		select {
		case f.free <- struct{}{}:
			group.Go(func() error {
				defer func() { <-f.free }()
				return enter()
			})
		default:
			first = enter()
		}
	}
	return cmp.Or(first, group.Wait())
}

// collect puts what is in folders after them.
func collect(steps []step) []Entry {
	found := make([]Entry, 0, len(steps))
	for _, s := range steps {
		if !s.skip || len(s.inside) > 0 {
			found = append(found, s.Entry)
		}
		found = append(found, s.inside...)
	}
	return found
}

// maxFile is the largest file, in bytes, that tar headers without extensions
// can tell. No registry takes layers that are much larger.
const maxFile = 8 << 30

// entry describes what is at a path, or refuses it.
func (f *Folder) entry(name, below string, info fs.FileInfo) (Entry, error) {
	e := Entry{Path: below, Host: filepath.Join(f.dir, filepath.FromSlash(name)), Kind: info.Mode().Type(), Mode: 0o644, Info: info}
	if strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name) {
		return e, fmt.Errorf("the file name %q has control characters or is not UTF-8: rename it, or name it in .dockerignore", name)
	}
	switch e.Kind {
	case 0:
		if info.Size() > maxFile {
			return e, fmt.Errorf("%s has %d bytes, more than the %d that a file in an image can have: name it in .dockerignore", name, info.Size(), int64(maxFile))
		}
		if info.Mode()&0o100 != 0 {
			e.Mode = 0o755
		}
	case fs.ModeDir:
		e.Mode = 0o755
	case fs.ModeSymlink:
		link, err := f.root.Readlink(name)
		e.Link, e.Mode = link, 0o777
		return e, err
	default:
		return e, fmt.Errorf("%s is neither a file, a folder nor a symbolic link (%s): name it in .dockerignore", name, kindName(e.Kind))
	}
	return e, nil
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
