package daemonless

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/nationtech/harmony/pkg/protocol"
)

// buildContext is the folder that COPY and ADD take files from, without what
// the ignore file names. Nothing outside of it is reached.
type buildContext struct {
	dir    string
	root   *os.Root
	ignore *patternmatcher.PatternMatcher
}

// openContext opens the folder dir, called name in messages. The ignore file is
// specific where there is such a file, .dockerignore in the folder otherwise.
func openContext(dir, name, specific string) (*buildContext, error) {
	if name == "" {
		name = "."
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, protocol.Invalid("the context folder %s does not exist", name)
	}
	if err != nil {
		return nil, protocol.Invalid("the context folder %s: %w", name, err)
	}
	for _, file := range []string{specific, filepath.Join(dir, ".dockerignore")} {
		matcher, err := readIgnore(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, errors.Join(protocol.Invalid("%s: %w", filepath.Base(file), err), root.Close())
		}
		return &buildContext{dir, root, matcher}, nil
	}
	return &buildContext{dir: dir, root: root}, nil
}

func readIgnore(path string) (*patternmatcher.PatternMatcher, error) {
	data, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	patterns, err := ignorefile.ReadAll(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return patternmatcher.New(patterns)
}

func (c *buildContext) Close() error { return c.root.Close() }

// source is one thing to copy: a file, or what is in a folder.
type source struct {
	// name that a file gets in a folder.
	name   string
	folder bool
	// files are the file itself, with an empty path, or all that is in the
	// folder.
	files []contextFile
	// content is set for a here-document.
	content *string
}

// contextFile is a file, folder or symbolic link.
type contextFile struct {
	path string // below the source
	host string // absolute
	kind fs.FileMode
	mode int64
	size int64
	link string
}

// find returns what a path or pattern of COPY names. Nothing at all is an error
// for a path, but not for a pattern.
func (c *buildContext) find(pattern string) ([]source, error) {
	clean := strings.TrimPrefix(path.Clean("/"+filepath.ToSlash(pattern)), "/")
	if local := path.Clean(strings.TrimLeft(filepath.ToSlash(pattern), "/")); local == ".." || strings.HasPrefix(local, "../") {
		return nil, fmt.Errorf("%s leads out of the context", pattern)
	}
	names, err := c.glob(clean)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pattern, err)
	}
	var found []source
	for _, name := range names {
		s, err := c.load(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", pattern, err)
		}
		if s != nil {
			found = append(found, *s)
		}
	}
	if len(found) > 0 || hasMeta(clean) {
		return found, nil
	}
	if len(names) > 0 {
		return nil, fmt.Errorf("%s is excluded by the .dockerignore file", pattern)
	}
	return nil, fmt.Errorf("%s: no such file or folder in the context", pattern)
}

func hasMeta(pattern string) bool { return strings.ContainsAny(pattern, `*?[\`) }

// glob returns the paths that match, sorted, symbolic links not followed at the
// end. "" is the context itself.
func (c *buildContext) glob(pattern string) ([]string, error) {
	found := []string{""}
	for part := range strings.SplitSeq(pattern, "/") {
		if part == "" {
			continue
		}
		var next []string
		for _, dir := range found {
			names, err := c.step(dir, part)
			if err != nil {
				return nil, err
			}
			next = append(next, names...)
		}
		found = next
	}
	return found, nil
}

// step returns what is called or matches part in a folder. A folder that is
// none has nothing.
func (c *buildContext) step(dir, part string) ([]string, error) {
	if !hasMeta(part) {
		name := path.Join(dir, part)
		_, err := c.root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) || isNotDir(err) {
			return nil, nil
		}
		return []string{name}, err
	}
	entries, err := c.readDir(dir)
	if errors.Is(err, fs.ErrNotExist) || isNotDir(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		match, err := path.Match(part, e.Name())
		if err != nil {
			return nil, err
		}
		if match {
			names = append(names, path.Join(dir, e.Name()))
		}
	}
	return names, nil
}

func (c *buildContext) readDir(dir string) ([]fs.DirEntry, error) {
	f, err := c.root.Open(dot(dir))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

func dot(name string) string {
	if name == "" {
		return "."
	}
	return name
}

// ignored tells whether path is ignored, with what is needed to ask for
// what is below it.
func (c *buildContext) ignored(name string) (bool, patternmatcher.MatchInfo, error) {
	var info patternmatcher.MatchInfo
	if c.ignore == nil || name == "" {
		return false, info, nil
	}
	var ignored bool
	var err error
	for i := range name + "/" {
		if i == len(name) || name[i] == '/' {
			if ignored, info, err = c.ignore.MatchesUsingParentResults(name[:i], info); err != nil {
				return false, info, err
			}
		}
	}
	return ignored, info, nil
}
