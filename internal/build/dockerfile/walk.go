package dockerfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/moby/patternmatcher"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/pkg/protocol"
)

const maxLinks = 40

// load reads what is to be copied from a path: the file, or everything in the
// folder. A symbolic link is followed, inside the context only. It is nil if the
// ignore file excludes all of it.
func (f *Folder) load(ctx context.Context, name string) (*Source, error) {
	if ignored, err := f.ignoredLink(name); ignored || err != nil {
		return nil, err
	}
	real, links, err := f.follow(name)
	if err != nil {
		return nil, err
	}
	info, err := f.root.Lstat(dot(real))
	if err != nil {
		return nil, err
	}
	s := &Source{Name: path.Base(name), Folder: info.IsDir(), real: real, links: links}
	ignored, match, err := f.ignored(real)
	if err != nil {
		return nil, err
	}
	if ignored && !s.Folder && len(links) > 0 {
		return nil, absent{real + " is excluded by the .dockerignore file"}
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
	s.Entries = []Entry{f.entry(real, "", info)}
	return s, nil
}

// ignoredLink reports whether a path is a symbolic link that the ignore file
// names.
func (f *Folder) ignoredLink(name string) (bool, error) {
	parent, _, err := f.follow(strings.TrimPrefix(path.Dir("/"+name), "/"))
	if err != nil {
		return false, err
	}
	at := path.Join(parent, path.Base(name))
	info, err := f.root.Lstat(dot(at))
	if err != nil || info.Mode().Type() != fs.ModeSymlink {
		return false, err
	}
	ignored, _, err := f.ignored(at)
	return ignored, err
}

// follow resolves the symbolic links of a path, component by component, and returns
// them. The context is their root.
func (f *Folder) follow(name string) (done string, links []Entry, err error) {
	for part, rest, more := strings.Cut(name, "/"); part != "" || more; part, rest, more = strings.Cut(rest, "/") {
		switch part {
		case "", ".":
			continue
		case "..":
			done = strings.TrimPrefix(path.Dir("/"+done), "/")
			continue
		}
		next := path.Join(done, part)
		info, err := f.root.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) && len(links) > 0 {
			last := links[len(links)-1]
			return "", nil, absent{fmt.Sprintf("%s is a symbolic link to %s, which is not there or leads out of the context", last.Name, last.Link)}
		}
		if err != nil {
			return "", nil, err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			done = next
			continue
		}
		if ignored, _, err := f.ignored(next); ignored || err != nil {
			return "", nil, cmp.Or[error](err, absent{next + " is excluded by the .dockerignore file"})
		}
		link := f.entry(next, next, info)
		if link.Err != nil {
			return "", nil, link.Err
		}
		if links = append(links, link); len(links) > maxLinks {
			return "", nil, fmt.Errorf("%s: too many symbolic links", name)
		}
		if path.IsAbs(link.Link) {
			done = ""
		}
		rest = link.Link + "/" + rest
	}
	return done, links, nil
}

// Entries are everything in the context that the ignore file does not exclude, a
// folder before what is in it, in an order that is the same everywhere.
func (f *Folder) Entries(ctx context.Context) ([]Entry, error) {
	entries, err := f.walk(ctx, "", "", false, patternmatcher.MatchInfo{})
	return entries, cmp.Or(err, firstError(entries))
}

func firstError(entries []Entry) error {
	for _, e := range entries {
		if e.Err != nil {
			return e.Err
		}
	}
	return nil
}

type step struct {
	Entry
	// inside is what is in a folder; skip is set for one that is ignored.
	inside []Entry
	skip   bool
}

// walk lists what is in a folder, below the path at. An ignored folder appears if
// something in it is not ignored.
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
		e := f.entry(name, path.Join(at, item.Name()), stat)
		steps, infos = append(steps, step{Entry: e, skip: skip}), append(infos, info)
	}
	err = f.descend(ctx, steps, func(ctx context.Context, i int) ([]Entry, error) {
		s := &steps[i]
		inside, err := f.walk(ctx, s.Name, s.Path, s.skip, infos[i])
		if errors.Is(err, fs.ErrPermission) && s.Err == nil {
			s.Err, err = unreadable(err), nil
		}
		return inside, err
	})
	return collect(steps), err
}

// descend walks the folders among the steps, in parallel while processors are free.
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

// maxFile is the largest file, in bytes, that tar headers without extensions can
// describe. No registry takes layers that are much larger.
const maxFile = 8 << 30

func (f *Folder) entry(name, below string, info fs.FileInfo) Entry {
	e := Entry{
		Path: below, Name: name, Host: filepath.Join(f.dir, filepath.FromSlash(name)),
		Kind: info.Mode().Type(), Mode: Mode(info.Mode()), Info: info, root: f.root,
	}
	switch {
	case strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name):
		e.Err = fmt.Errorf("the file name %q has control characters or is not UTF-8: rename it, or name it in .dockerignore", name)
	case e.Kind == fs.ModeSymlink:
		e.Mode = 0o777
		e.Link, e.Err = f.root.Readlink(name)
	case e.Kind == 0 && info.Size() > maxFile:
		e.Err = fmt.Errorf("%s has %d bytes, more than the %d that a file in an image can have: name it in .dockerignore", name, info.Size(), int64(maxFile))
	case e.Kind != 0 && e.Kind != fs.ModeDir:
		e.Err = fmt.Errorf("%s is neither a file, a folder nor a symbolic link (%s): name it in .dockerignore", name, kindName(e.Kind))
	}
	return e
}

// Mode is a mode as tar headers have it.
func Mode(m fs.FileMode) int64 {
	mode := int64(m.Perm())
	for i, bit := range []fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if m&bit != 0 {
			mode |= 0o1000 << i
		}
	}
	return mode
}

// unreadable is an error for what COPY takes and this user may not read.
func unreadable(err error) error {
	return protocol.Invalid("%w", err).WithHint("make it readable, or name it in .dockerignore if the image does not need it")
}

// ErrChanged is the error of a file that is no longer what the walk found.
var ErrChanged = errors.New("changed while it was read")

// Open opens a file of a folder that is still open. It fails with [ErrChanged]
// when another file has taken its place, or it was written to.
func (e Entry) Open() (fs.File, error) {
	// A pipe that took its place would block.
	file, err := e.root.OpenFile(e.Name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, unreadable(err)
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !inputs.Same(info, e.Info) {
		err = fmt.Errorf("%s %w", e.Name, ErrChanged)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
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
