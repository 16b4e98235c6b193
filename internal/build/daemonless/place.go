package daemonless

import (
	"archive/tar"
	"context"
	"fmt"
	"maps"
	"path"
	"strings"

	"github.com/nationtech/harmony/internal/ocilayout"
)

// writer puts files into a tree and collects what is new.
type writer struct {
	tree *tree
	new  map[string]ocilayout.Entry
	// prefix is the path of the tree's root in the image.
	prefix string
	// uid and gid own what is made.
	uid, gid int
}

func newWriter(t *tree) *writer { return &writer{tree: t, new: map[string]ocilayout.Entry{}} }

// put puts a node where resolve said.
func (w *writer) put(where string, n *node) error {
	before := w.tree.at(where)
	if err := w.tree.put(where, n); err != nil {
		return err
	}
	entry := n.entry
	entry.Path = path.Join(w.prefix, where)
	if entry.Path == "" {
		return nil // the root is whatever unpacks the image
	}
	w.replaced(entry.Path, before, n)
	w.new[entry.Path] = entry
	return nil
}

// replaced removes what this layer put into a folder that is gone, and hides the
// contents of one in a lower layer if something else replaced it, and a new folder
// that.
func (w *writer) replaced(name string, before, now *node) {
	old, fresh := w.new[name]
	switch {
	case before != nil && before.isDir() && !now.isDir():
		maps.DeleteFunc(w.new, func(p string, _ ocilayout.Entry) bool { return strings.HasPrefix(p, name+"/") })
	case fresh && now.isDir() && old.Type != tar.TypeDir:
		marker := ocilayout.File(path.Join(name, opaque), 0, nil)
		w.new[marker.Path] = marker
	}
}

// mkdirAll makes the folders of a path that are not there, with the mode, and
// returns where it is after symbolic links.
func (w *writer) mkdirAll(name string, mode int64) (string, error) {
	where, n, err := w.tree.resolve(name, true)
	if err != nil {
		return "", err
	}
	if n != nil && !n.isDir() {
		return "", fmt.Errorf("/%s is there and not a folder", path.Join(w.prefix, where))
	}
	if n != nil {
		return where, nil
	}
	if parent := path.Dir("/" + where); parent != "/" {
		if _, err := w.mkdirAll(parent, mode); err != nil {
			return "", err
		}
	}
	return where, w.put(where, w.folder(mode))
}

func (w *writer) folder(mode int64) *node {
	n := &node{entry: ocilayout.Dir("", mode), children: map[string]*node{}}
	n.entry.UID, n.entry.GID = w.uid, w.gid
	return n
}

// item is a file to be placed, of whatever source.
type item struct {
	path string // below the source; empty for a file itself
	node *node
	// implied is set for a folder that is only there for what is in it.
	implied bool
}

// piece is a source with its items.
type piece struct {
	name   string
	folder bool
	items  []item
	unpack bool
}

// place carries out a COPY or ADD.
func (m *maker) place(ctx context.Context, c *copying, w *writer) (err error) {
	if w.uid, w.gid, err = m.owner(ctx, c.chown, w.tree); err != nil {
		return fmt.Errorf("--chown=%s: %w", c.chown, err)
	}
	for _, s := range c.sources {
		pieces, err := m.pieces(ctx, s)
		if err != nil {
			return err
		}
		for _, p := range pieces {
			unpacked, err := m.unpack(ctx, c, w, p)
			if err == nil && !unpacked {
				err = w.piece(c, p)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// piece places one source: a file at dest or in it, what is in a folder in it.
func (w *writer) piece(c *copying, p piece) error {
	parent := c.dest
	if !strings.HasSuffix(c.dest, "/") {
		parent = path.Dir(c.dest)
	}
	if _, err := w.mkdirAll(parent, c.chmod.folder()); err != nil {
		return err
	}
	where, there, err := w.tree.resolve(c.dest, true)
	if err != nil {
		return err
	}
	if !p.folder && there != nil && there.isDir() {
		where = path.Join(where, p.name)
	}
	target := path.Dir("/" + where)
	if p.folder {
		target = "/" + where
	}
	if _, err := w.mkdirAll(target, c.chmod.folder()); err != nil {
		return err
	}
	for _, i := range p.items {
		if err := w.item(c, path.Join(where, i.path), i); err != nil {
			return err
		}
	}
	return nil
}

// item places a node, as a copy, under a path whose folder is there.
func (w *writer) item(c *copying, where string, i item) error {
	n := *i.node
	if n.isDir() {
		n.children = map[string]*node{}
	}
	// Without --chown a file from a stage keeps its owner, and one from the
	// context is root's.
	if c.chown != "" {
		n.entry.UID, n.entry.GID = w.uid, w.gid
	}
	_, there, err := w.tree.resolve(where, false)
	switch {
	case err != nil:
		return err
	case there != nil && there.isDir() && !n.isDir():
		return fmt.Errorf("/%s is a folder, a file cannot take its place", where)
	case there != nil && !there.isDir() && n.isDir():
		return fmt.Errorf("/%s is not a folder, a folder cannot take its place", where)
	case there != nil && i.implied:
		n.entry.UID, n.entry.GID = there.entry.UID, there.entry.GID
	case n.entry.Type != tar.TypeSymlink:
		n.entry.Mode = c.chmod.apply(n.entry.Mode, n.isDir())
	}
	return w.put(where, &n)
}
