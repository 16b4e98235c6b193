package daemonless

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/build/layout"
)

// writer puts files into a tree and collects what is new.
type writer struct {
	tree *tree
	new  map[string]layout.Entry
	// uid and gid own what is made.
	uid, gid int
}

func (w *writer) entries() []layout.Entry {
	return slices.Collect(maps.Values(w.new))
}

// put puts a node where resolve said.
func (w *writer) put(where string, n *node) error {
	if err := w.tree.put(where, n); err != nil {
		return err
	}
	entry := n.entry
	entry.Path = where
	w.new[where] = entry
	return nil
}

// mkdirAll makes the folders of a path that are not there, and returns where it
// is after symbolic links.
func (w *writer) mkdirAll(name string) (string, error) {
	where, n, err := w.tree.resolve(name, true)
	if err != nil {
		return "", err
	}
	if n != nil && !n.isDir() {
		return "", fmt.Errorf("/%s is there and not a folder", where)
	}
	if n != nil {
		return where, nil
	}
	if parent := path.Dir("/" + where); parent != "/" {
		if _, err := w.mkdirAll(parent); err != nil {
			return "", err
		}
	}
	return where, w.put(where, w.folder(0o755))
}

func (w *writer) folder(mode int64) *node {
	n := &node{entry: layout.Dir("", mode), children: map[string]*node{}}
	n.entry.UID, n.entry.GID = w.uid, w.gid
	return n
}

// item is a file to be placed, of whatever source.
type item struct {
	path string // below the source; empty for a file itself
	node *node
}

// piece is a source with its items.
type piece struct {
	name   string
	folder bool
	items  []item
}

// place carries out a COPY or ADD.
func (m *maker) place(ctx context.Context, c *copying, w *writer, b *base) error {
	uid, gid, err := m.owner(ctx, c.chown, w.tree, b)
	if err != nil {
		return err
	}
	w.uid, w.gid = uid, gid
	pieces, err := m.pieces(ctx, c)
	if err != nil {
		return err
	}
	for _, p := range pieces {
		if err := w.piece(c, p, len(pieces) > 1); err != nil {
			return err
		}
	}
	return nil
}

// piece places one source: a file at dest or in it, what is in a folder in it.
func (w *writer) piece(c *copying, p piece, several bool) error {
	if p.folder {
		where, err := w.mkdirAll(c.dest)
		if err != nil {
			return err
		}
		for _, i := range p.items {
			if err := w.item(c, path.Join(where, i.path), i.node); err != nil {
				return err
			}
		}
		return nil
	}
	dest := c.dest
	if strings.HasSuffix(dest, "/") {
		if _, err := w.mkdirAll(dest); err != nil {
			return err
		}
	}
	where, there, err := w.tree.resolve(dest, true)
	if err != nil {
		return err
	}
	if there != nil && there.isDir() {
		return w.item(c, path.Join(where, p.name), p.items[0].node)
	}
	if several {
		return fmt.Errorf("several files cannot be copied to %s, which is not a folder; end it with a slash", dest)
	}
	if parent := path.Dir("/" + where); parent != "/" {
		if _, err := w.mkdirAll(parent); err != nil {
			return err
		}
	}
	return w.item(c, where, p.items[0].node)
}

// item places a node, as a copy, under a path whose folder is there.
func (w *writer) item(c *copying, where string, source *node) error {
	n := *source
	if n.isDir() {
		n.children = map[string]*node{}
	}
	// Without --chown a file from a stage keeps its owner, and one from the
	// context is root's.
	if c.chown != "" {
		n.entry.UID, n.entry.GID = w.uid, w.gid
	}
	if c.mode >= 0 && n.entry.Type != tar.TypeSymlink {
		n.entry.Mode = c.mode
	}
	_, there, err := w.tree.resolve(where, false)
	switch {
	case err != nil:
		return err
	case there != nil && there.isDir() && !n.isDir():
		return fmt.Errorf("/%s is a folder, a file cannot take its place", where)
	case there != nil && !there.isDir() && n.isDir():
		return fmt.Errorf("/%s is not a folder, a folder cannot take its place", where)
	}
	return w.put(where, &n)
}

// pieces are the sources with their files.
func (m *maker) pieces(ctx context.Context, c *copying) ([]piece, error) {
	var pieces []piece
	for _, s := range c.sources {
		p := piece{name: s.name, folder: s.folder}
		if s.content != nil {
			p.items = []item{{node: &node{entry: layout.File("", 0o644, []byte(*s.content))}}}
		}
		for _, f := range s.files {
			p.items = append(p.items, item{f.path, f.node()})
		}
		pieces = append(pieces, p)
	}
	if c.from == nil {
		return pieces, nil
	}
	t, err := m.tree(ctx, c.from)
	if err != nil {
		return nil, err
	}
	for _, pattern := range c.patterns {
		found, err := m.piecesFrom(ctx, c.from, t, pattern)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, found...)
	}
	return pieces, nil
}

func (f contextFile) node() *node {
	n := &node{entry: layout.Entry{Type: tar.TypeReg, Mode: f.mode, Size: f.size, Link: f.link}}
	switch f.kind {
	case fs.ModeDir:
		n.entry.Type, n.children = tar.TypeDir, map[string]*node{}
	case fs.ModeSymlink:
		n.entry.Type = tar.TypeSymlink
	default:
		n.entry.Open = func() (io.ReadCloser, error) { return os.Open(f.host) }
	}
	return n
}

// piecesFrom looks a pattern up in a stage or image.
func (m *maker) piecesFrom(ctx context.Context, from *state, t *tree, pattern string) ([]piece, error) {
	names, err := t.glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", pattern, err)
	}
	if len(names) == 0 && !hasMeta(pattern) {
		return nil, fmt.Errorf("%s: no such file or folder in what --from names", pattern)
	}
	var pieces []piece
	var files []*node
	for _, name := range names {
		_, n, err := t.resolve(name, true)
		if err == nil && n == nil {
			err = errors.New("is a symbolic link to nothing")
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p := piece{name: baseName(name), folder: n.isDir(), items: []item{{node: n}}}
		if p.folder {
			p.items = nil
			err := n.below("", func(at string, n *node) error {
				p.items = append(p.items, item{at, n})
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
		for _, i := range p.items {
			if i.node.entry.Type == tar.TypeChar {
				return nil, fmt.Errorf("/%s: devices cannot be copied", path.Join(name, i.path))
			}
			files = append(files, i.node)
		}
		pieces = append(pieces, p)
	}
	return pieces, m.contents(ctx, from.base, files)
}

// contents makes the files of a base image readable.
func (m *maker) contents(ctx context.Context, b *base, files []*node) error {
	if b == nil {
		return nil
	}
	folder, err := m.draft.Dir()
	if err != nil {
		return err
	}
	return m.recipe.registry.extract(ctx, b, files, folder)
}
