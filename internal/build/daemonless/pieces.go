package daemonless

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/ocilayout"
)

// pieces are the files of a source.
func (m *maker) pieces(ctx context.Context, s source) ([]piece, error) {
	switch {
	case s.content != nil:
		file := ocilayout.File("", 0o644, []byte(*s.content))
		return []piece{{name: s.name, items: []item{{node: &node{entry: file}}}}}, nil
	case s.remote != nil:
		p, err := m.download(ctx, s.remote)
		p.unpack = s.unpack
		return []piece{p}, err
	case s.from != nil:
		return m.piecesFrom(ctx, s)
	}
	p := piece{name: s.found.Name, folder: s.found.Folder, unpack: s.unpack}
	for _, f := range s.found.Entries {
		n := &node{entry: f.Layered()}
		if f.Kind == fs.ModeDir {
			n.children = map[string]*node{}
		}
		p.items = append(p.items, item{path: f.Path, node: n, implied: f.Implied})
	}
	return []piece{p}, nil
}

// piecesFrom are the files of a source in a stage or image.
func (m *maker) piecesFrom(ctx context.Context, s source) ([]piece, error) {
	t, err := m.tree(ctx, s.from)
	if err != nil {
		return nil, err
	}
	pieces, err := t.take(s.take)
	if err != nil {
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
	return pieces, m.extract(ctx, files)
}

// take finds what an instruction takes from the tree.
func (t *tree) take(take dockerfile.Take) (pieces []piece, err error) {
	names, err := t.glob(take.Pattern)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", take.Pattern, err)
	}
	if len(names) == 0 && !dockerfile.IsPattern(take.Pattern) {
		return nil, fmt.Errorf("%s: no such file or folder in what --from names", take.Pattern)
	}
	matched := take.Required == ""
	for _, name := range names {
		p, err := t.piece(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if p.folder {
			p.items, err = dockerfile.Select(take.Selection, p.items, func(i *item) (string, *bool) { return i.path, &i.implied })
			if err != nil {
				return nil, err
			}
			matched = matched || len(p.items) > 0 && take.Include != ""
		}
		pieces = append(pieces, p)
	}
	if !matched {
		return nil, fmt.Errorf("%s: no such file or folder", take.Required)
	}
	return pieces, nil
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
