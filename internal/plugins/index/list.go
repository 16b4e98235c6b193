package index

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/pkg/protocol"
)

// ListOf makes the list of an https tree's files. Those that are no manifests
// are passed over. name is the index's own name, for people.
func ListOf(name string, files map[string][]byte) List {
	l := List{Metadata: protocol.Metadata{Name: name}, Manifests: []Listed{}}
	for _, file := range tree(files).manifests() {
		l.Manifests = append(l.Manifests, Listed{file, hashOf(files[file])})
	}
	return l
}

// Check reads the manifests of a folder and returns how many there are. The
// error lists everything that is wrong with them.
func Check(folder string) (int, error) {
	files, err := checked(folder)
	return len(files.manifests()), err
}

// Build checks the manifests of a folder, and lists them in its index.yaml. It
// returns how many there are.
func Build(folder string) (int, error) {
	files, err := checked(folder)
	if err != nil {
		return 0, err
	}
	list, err := Encode(ListOf(manifestFolder, files))
	if err != nil {
		return 0, err
	}
	path := filepath.Join(holding(folder), listName)
	if old, err := readFile(path, maxList); err == nil && string(old) == string(list) {
		return len(files.manifests()), nil
	}
	return len(files.manifests()), atomicfile.Write(path, list, 0o644)
}

// checked reads the manifests of a folder, all of which have to be right.
func checked(folder string) (tree, error) {
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	files, err := readFolder(absolute)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder, err)
	}
	offered, err := read(Index{Name: filepath.Base(absolute), URL: absolute}, files)
	if err != nil {
		return nil, err
	}
	wrong := offered.broken()
	all, err := filepath.Glob(filepath.Join(holding(absolute), "*.y*ml"))
	if err != nil {
		return nil, err
	}
	for _, path := range all {
		if name := filepath.Base(path); name != listName && files[name] == nil {
			wrong = append(wrong, fmt.Errorf("%s is not the name of a manifest, such as fleet.yaml or fleet@1.4.0.yaml", path))
		}
	}
	if len(all) == 0 {
		wrong = append(wrong, fmt.Errorf("%s holds no manifest, such as fleet.yaml or fleet@1.4.0.yaml", folder))
	}
	if len(wrong) > 0 {
		return files, protocol.Invalid("%w", errors.Join(wrong...))
	}
	return files, nil
}
