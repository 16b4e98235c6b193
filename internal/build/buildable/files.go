package buildable

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/build/inputs"
)

// additionFolder is where the files are in a context, by number.
const additionFolder = "files"

// addition is a file or folder of the project that goes into the image.
type addition struct {
	from, to string
	folder   bool
	entries  []dockerfile.Entry // the file itself, or all that is in the folder
	values   []string           // of the entries, see valueOf
}

// source is the path in the context of the number i.
func (a addition) source(i int) string {
	name := fmt.Sprintf("%s/%d", additionFolder, i)
	if a.folder {
		name += "/"
	}
	return name
}

// addFiles reads the files that go into the image, and returns them as items.
func (g *golang) addFiles(ctx context.Context) ([]inputs.Item, error) {
	g.files = g.files[:0]
	if len(g.source.Files) == 0 {
		return nil, nil
	}
	root, err := os.OpenRoot(g.root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	digests := inputs.OpenDigests(filepath.Join(g.options.Memory, "go-files.digests"))
	var items []inputs.Item
	for _, from := range slices.Sorted(maps.Keys(g.source.Files)) {
		a, err := g.add(ctx, root, addition{from: path.Clean(filepath.ToSlash(from)), to: g.source.Files[from]}, digests)
		if err != nil {
			return nil, err
		}
		for i, e := range a.entries {
			items = append(items, inputs.Item{Kind: inputs.File, Name: path.Join(a.from, e.Path), Value: a.values[i], Path: e.Host})
		}
		g.files = append(g.files, a)
	}
	digests.Save()
	return items, g.checkPlaces()
}

func (g *golang) add(ctx context.Context, root *os.Root, a addition, digests *inputs.Digests) (addition, error) {
	from, field := a.from, "files."+a.from
	info, err := root.Stat(from) // an error for what leads out of the project by links
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return a, g.options.invalid(field, "%s is not in %s", from, g.root)
	case err != nil:
		return a, g.options.invalid(field, "%v", err)
	case info.IsDir():
		return g.addFolder(ctx, a, field, digests)
	case !info.Mode().IsRegular():
		return a, g.options.invalid(field, "%s is neither a file nor a folder", from)
	}
	if strings.HasSuffix(a.to, "/") {
		a.to += path.Base(from)
	}
	if strings.ContainsAny(a.to, `$\`) {
		return a, g.options.invalid(field, "%s has a $ or a backslash in its name; write its whole path in the image", from)
	}
	e := dockerfile.Entry{Host: filepath.Join(g.root, filepath.FromSlash(from)), Info: info}
	sum, err := digests.File(e.Host)
	a.entries, a.values = []dockerfile.Entry{e}, []string{checkoutValue(info, sum)}
	return a, err
}

// addFolder adds what is in a folder, but for what its .dockerignore names.
func (g *golang) addFolder(ctx context.Context, a addition, field string, digests *inputs.Digests) (addition, error) {
	a.folder = true
	folder, err := dockerfile.OpenFolder(filepath.Join(g.root, filepath.FromSlash(a.from)), "", ".dockerignore")
	if err != nil {
		return a, err
	}
	defer folder.Close()
	var items []inputs.Item
	if a.entries, items, err = entries(ctx, folder, digests); err != nil {
		return a, fmt.Errorf("%s: %w", a.from, err)
	}
	if !slices.ContainsFunc(a.entries, func(e dockerfile.Entry) bool { return e.Kind != fs.ModeDir }) {
		return a, g.options.invalid(field, "the folder %s has no files", a.from).WithHint("make them first, then build the image")
	}
	for _, item := range items {
		a.values = append(a.values, item.Value)
	}
	return a, nil
}

// checkPlaces refuses files where the program goes.
func (g *golang) checkPlaces() error {
	program := g.program()
	for _, a := range g.files {
		if to := path.Clean(a.to); to == program || strings.HasPrefix(to, program+"/") {
			return g.options.invalid("files."+a.from, "%s is the place of the program", a.to)
		}
	}
	return nil
}

// writeFiles copies the files into a context.
func (g *golang) writeFiles(ctx context.Context, dir string) error {
	for i, a := range g.files {
		to := filepath.Join(dir, filepath.FromSlash(a.source(i)))
		if a.folder {
			if err := os.MkdirAll(to, 0o755); err != nil {
				return err
			}
		}
		for j, e := range a.entries {
			if err := errors.Join(ctx.Err(), copyEntry(e, a.values[j], filepath.Join(to, filepath.FromSlash(e.Path)))); err != nil {
				return err
			}
		}
	}
	return nil
}
