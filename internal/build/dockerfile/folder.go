package dockerfile

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Folder is a context folder, without what its ignore file names. Nothing
// outside of it is reached.
type Folder struct {
	dir  string
	root *os.Root
	// matchers have the patterns of the ignore file, if there is one. A matcher
	// serves one goroutine at a time.
	matchers   *sync.Pool
	exclusions bool // some pattern begins with !
	// free has room for one goroutine less than there are processors.
	free chan struct{}
}

// Open opens the context folder.
func (c Context) Open() (*Folder, error) { return OpenFolder(c.Dir, c.Dockerfile+".dockerignore") }

// OpenFolder opens a folder. The ignore file is specific where there is such a
// file, .dockerignore in the folder otherwise. The patterns come before its own.
func OpenFolder(dir, specific string, patterns ...string) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, protocol.Invalid("the context folder %s does not exist", dir)
	}
	if err != nil {
		return nil, protocol.Invalid("the context folder %s: %w", dir, err)
	}
	f := &Folder{dir: dir, root: root, free: make(chan struct{}, runtime.GOMAXPROCS(0)-1)}
	for _, file := range []string{specific, filepath.Join(dir, ".dockerignore")} {
		data, err := readSmall(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = f.ignore(patterns, data)
		}
		if err != nil {
			return nil, errors.Join(protocol.Invalid("%s: %w", filepath.Base(file), err), root.Close())
		}
		return f, nil
	}
	if len(patterns) == 0 {
		return f, nil
	}
	return f, f.ignore(patterns, nil)
}

func (f *Folder) ignore(patterns []string, file []byte) error {
	own, err := ignorefile.ReadAll(bytes.NewReader(file))
	if err != nil {
		return err
	}
	patterns = slices.Concat(patterns, own)
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return err
	}
	f.exclusions = matcher.Exclusions()
	f.matchers = &sync.Pool{New: func() any {
		again, _ := patternmatcher.New(patterns) // the same were good before
		return again
	}}
	f.matchers.Put(matcher)
	return nil
}

// Close ends the use of the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Source is one thing to copy: a file, or what is in a folder.
type Source struct {
	// Name that a file gets in a folder.
	Name string
	// Folder is true for what is in a folder.
	Folder bool
	// Entries are the file itself, with an empty path, or all that is in the
	// folder.
	Entries []Entry

	// real is where it is in the context, and links what leads there.
	real  string
	links []Entry
}

// Entry is a file, folder or symbolic link of a context.
type Entry struct {
	// Path is below the source, and Name in the context, with slashes; Host is
	// the absolute path.
	Path, Name, Host string
	// Kind is 0 for a file, fs.ModeDir or fs.ModeSymlink. Others have an Err.
	Kind fs.FileMode
	// Mode has the permissions with setuid, setgid and sticky, as in a tar header.
	Mode int64
	// Info is that of the entry itself.
	Info fs.FileInfo
	// Link is what a symbolic link points at.
	Link string
	// Implied is set for a folder that is only taken for what is in it.
	Implied bool
	// Err is why it cannot be copied.
	Err error

	root *os.Root
}

// Find returns what is taken from the context. Nothing at all is an error for a
// path, fs.ErrNotExist, but not for a pattern.
func (f *Folder) Find(ctx context.Context, t Take) ([]Source, error) {
	clean := strings.TrimPrefix(path.Clean("/"+filepath.ToSlash(t.Pattern)), "/")
	names, err := Glob(clean, f.names)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.Pattern, err)
	}
	var found []Source
	matched := t.Required == ""
	for _, name := range names {
		s, err := f.load(ctx, name)
		if err == nil && s != nil && s.Folder {
			s.Entries, err = Select(t.Selection, s.Entries, func(e *Entry) (string, *bool) { return e.Path, &e.Implied })
		}
		if err == nil && s != nil {
			err = firstError(s.Entries)
		}
		if errors.Is(err, fs.ErrPermission) {
			err = unreadable(err)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Pattern, err)
		}
		if s != nil {
			found = append(found, *s)
			matched = matched || s.Folder && len(s.Entries) > 0
		}
	}
	switch {
	case !matched || t.Include == "" && t.Required != "":
		return nil, absent{t.Required + ": no such file or folder"}
	case len(found) > 0 || IsPattern(clean):
		return found, nil
	case len(names) > 0:
		return nil, absent{t.Pattern + " is excluded by the .dockerignore file"}
	}
	return nil, absent{t.Pattern + ": no such file or folder in the context"}
}

// absent is an error for what is not in the context.
type absent struct{ text string }

func (a absent) Error() string        { return a.text }
func (a absent) Is(target error) bool { return target == fs.ErrNotExist }

// IsPattern reports whether a path has special characters.
func IsPattern(pattern string) bool { return strings.ContainsAny(pattern, `*?[\`) }

// Glob returns the paths that match a pattern, in order; "" is the root. names lists
// a folder in order; of a folder that does not exist, nothing. It may leave out what
// is not named part, if that is no pattern.
func Glob(pattern string, names func(dir, part string) ([]string, error)) ([]string, error) {
	found := []string{""}
	for part := range strings.SplitSeq(path.Clean("/"+pattern), "/") {
		if part == "" {
			continue
		}
		var next []string
		for _, dir := range found {
			list, err := names(dir, part)
			if err != nil {
				return nil, err
			}
			for _, name := range list {
				match := name == part
				if IsPattern(part) {
					if match, err = path.Match(part, name); err != nil {
						return nil, err
					}
				}
				if match {
					next = append(next, path.Join(dir, name))
				}
			}
		}
		found = next
	}
	return found, nil
}

// names is for Glob.
func (f *Folder) names(dir, part string) (names []string, err error) {
	real, _, err := f.follow(dir)
	switch {
	case err == nil && IsPattern(part):
		var entries []fs.DirEntry
		entries, err = f.readDir(real)
		for _, e := range entries {
			names = append(names, e.Name())
		}
	case err == nil:
		_, err = f.root.Lstat(path.Join(real, part))
		names = []string{part}
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	return names, err
}

func (f *Folder) readDir(dir string) ([]fs.DirEntry, error) {
	opened, err := f.root.Open(dot(dir)) // root.FS refuses names that are not UTF-8
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	entries, err := opened.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

func dot(name string) string { return cmp.Or(name, ".") }

// ignored reports whether a path is ignored, and what is needed to ask for paths
// below it.
func (f *Folder) ignored(name string) (bool, patternmatcher.MatchInfo, error) {
	var info patternmatcher.MatchInfo
	if name == "" {
		return false, info, nil
	}
	var ignored bool
	var err error
	for i := range name + "/" {
		if i == len(name) || name[i] == '/' {
			if ignored, info, err = f.matches(name[:i], info); err != nil {
				return false, info, err
			}
		}
	}
	return ignored, info, nil
}

// matches reports whether the ignore file excludes a path, given its answer for the
// folder that contains it.
func (f *Folder) matches(name string, parent patternmatcher.MatchInfo) (bool, patternmatcher.MatchInfo, error) {
	if f.matchers == nil {
		return false, parent, nil
	}
	matcher := f.matchers.Get().(*patternmatcher.PatternMatcher)
	defer f.matchers.Put(matcher)
	return matcher.MatchesUsingParentResults(name, parent)
}

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
