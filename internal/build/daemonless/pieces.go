package daemonless

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/moby/patternmatcher"

	"github.com/nationtech/harmony/internal/build/base"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/ocilayout"
)

// pieces are the files that a source comes to.
func (m *maker) pieces(ctx context.Context, c *copying, s source) ([]piece, error) {
	switch {
	case s.content != nil:
		file := ocilayout.File("", 0o644, []byte(*s.content))
		return []piece{{name: s.name, items: []item{{node: &node{entry: file}}}}}, nil
	case s.remote != nil:
		p, err := m.download(ctx, s.remote)
		p.unpack = s.unpack
		return []piece{p}, err
	case s.from != nil:
		return m.piecesFrom(ctx, c, s)
	}
	p := piece{name: s.found.Name, folder: s.found.Folder, unpack: s.unpack}
	for _, f := range s.found.Entries {
		p.items = append(p.items, item{path: f.Path, node: nodeOfEntry(f)})
		p.host = f.Host
	}
	return c.narrow(s, []piece{p})
}

// nodeOfEntry is an entry of the context as a node.
func nodeOfEntry(e dockerfile.Entry) *node {
	n := &node{entry: ocilayout.Entry{Type: tar.TypeReg, Mode: e.Mode, Link: e.Link}}
	switch e.Kind {
	case fs.ModeDir:
		n.entry.Type, n.children = tar.TypeDir, map[string]*node{}
	case fs.ModeSymlink:
		n.entry.Type = tar.TypeSymlink
	default:
		n.entry.Size = e.Info.Size()
		n.entry.Open = func() (io.ReadCloser, error) { return os.Open(e.Host) }
	}
	return n
}

// piecesFrom looks a pattern up in a stage or image.
func (m *maker) piecesFrom(ctx context.Context, c *copying, s source) ([]piece, error) {
	t, err := m.tree(ctx, s.from)
	if err != nil {
		return nil, err
	}
	names, err := t.glob(s.pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.pattern, err)
	}
	if len(names) == 0 && !dockerfile.IsPattern(s.pattern) {
		return nil, fmt.Errorf("%s: no such file or folder in what --from names", s.pattern)
	}
	var pieces []piece
	for _, name := range names {
		p, err := t.piece(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		pieces = append(pieces, p)
	}
	if pieces, err = c.narrow(s, pieces); err != nil {
		return nil, err
	}
	var files []*node
	for _, p := range pieces {
		for _, i := range p.items {
			if i.node.entry.Type == tar.TypeChar {
				return nil, fmt.Errorf("/%s: devices cannot be copied", path.Join(p.name, i.path))
			}
			files = append(files, i.node)
		}
	}
	return pieces, m.contents(ctx, s.from.base, files)
}

// piece is what is at a path of the tree.
func (t *tree) piece(name string) (piece, error) {
	_, n, err := t.resolve(name, true)
	if err == nil && n == nil {
		err = errors.New("is a symbolic link to nothing")
	}
	if err != nil {
		return piece{}, err
	}
	if !n.isDir() {
		return piece{name: baseName(name), items: []item{{node: n}}}, nil
	}
	p := piece{name: baseName(name), folder: true}
	err = n.below("", func(at string, n *node) error {
		p.items = append(p.items, item{path: at, node: n})
		return nil
	})
	return p, err
}

// contents makes the files of a base image readable.
func (m *maker) contents(ctx context.Context, b *base.Image, files []*node) error {
	if b == nil {
		return nil
	}
	folder, err := m.draft.Dir()
	if err != nil {
		return err
	}
	return extract(ctx, m.recipe.registry, b, files, folder)
}

// narrow leaves of the folders what --parents and --exclude select.
func (c *copying) narrow(s source, pieces []piece) ([]piece, error) {
	if s.include == "" && len(c.exclude) == 0 {
		return pieces, nil
	}
	matched := false
	for i, p := range pieces {
		if !p.folder {
			continue
		}
		items, err := c.selected(s, p.items)
		if err != nil {
			return nil, err
		}
		pieces[i].items = items
		matched = matched || len(items) > 0
	}
	if !matched && s.required != "" {
		return nil, fmt.Errorf("%s: no such file or folder", s.required)
	}
	return pieces, nil
}

// selected are the items that the patterns select, and the folders around them.
func (c *copying) selected(s source, items []item) ([]item, error) {
	include, err := newPatterns(s.include)
	if err != nil {
		return nil, err
	}
	exclude, err := newPatterns(c.exclude...)
	if err != nil {
		return nil, err
	}
	folders, taken := map[string]item{}, map[string]bool{}
	var out []item
	for _, i := range items {
		in, err := include.match(i.path)
		if err != nil {
			return nil, err
		}
		not, err := exclude.match(i.path)
		if err != nil {
			return nil, err
		}
		folders[i.path] = i
		if (!in && s.include != "") || not {
			continue
		}
		out = append(append(out, around(i.path, folders, taken)...), i)
		taken[i.path] = true
	}
	return out, nil
}

// around are the folders of a path that were not taken yet, outermost first.
func around(name string, folders map[string]item, taken map[string]bool) []item {
	parent := path.Dir(name)
	if parent == "." || taken[parent] {
		return nil
	}
	taken[parent] = true
	folder := folders[parent]
	folder.implied = true
	return append(around(parent, folders, taken), folder)
}

// patterns match paths that come in the order of a walk.
type patterns struct {
	matcher *patternmatcher.PatternMatcher
	parents map[string]patternmatcher.MatchInfo
}

func newPatterns(list ...string) (patterns, error) {
	matcher, err := patternmatcher.New(list)
	return patterns{matcher, map[string]patternmatcher.MatchInfo{}}, err
}

func (p patterns) match(name string) (bool, error) {
	matched, info, err := p.matcher.MatchesUsingParentResults(name, p.parents[path.Dir(name)])
	p.parents[name] = info
	return matched, err
}
