package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Limits of an index: a hostile one is refused before it costs memory or time.
const (
	maxFiles     = 8192
	maxTree      = 32 << 20 // bytes
	maxSignature = 8 << 10  // bytes
)

// listName is the file that lists the manifests of an https tree.
const listName = "index.yaml"

// tree has the files of an index by their names: manifests and signatures.
type tree map[string][]byte

// manifestName splits the name of a manifest's file: NAME.yaml, or
// NAME@VERSION.yaml for a version that is not the newest.
func manifestName(file string) (name, version string, ok bool) {
	base, ok := strings.CutSuffix(file, ".yaml")
	if !ok || file == listName {
		return "", "", false
	}
	name, version, dated := strings.Cut(base, "@")
	return name, version, protocol.ValidName(name) && (!dated || artifact.ValidVersion(version))
}

// belongs reports whether a file of this name is part of an index: a manifest or its
// signature. Other files, such as a README, are ignored.
func belongs(file string) bool {
	_, _, ok := manifestName(strings.TrimSuffix(strings.TrimSuffix(file, minisignSuffix), cosignSuffix))
	return ok
}

// limitOf is the size of the largest file of this name, in bytes.
func limitOf(file string) int64 {
	if strings.HasSuffix(file, ".yaml") {
		return maxManifest
	}
	return maxSignature
}

// add adds a file, unless that makes the tree too large.
func (t tree) add(file string, data []byte) error {
	if !belongs(file) {
		return fmt.Errorf("%q is not the name of a manifest, such as fleet.yaml or fleet@1.4.0.yaml", file)
	}
	if _, twice := t[file]; twice {
		return fmt.Errorf("%s appears twice", file)
	}
	if int64(len(data)) > limitOf(file) {
		return &tooLarge{file, limitOf(file)}
	}
	t[file] = data
	return t.check()
}

// check is nil for a tree within the limits.
func (t tree) check() error {
	if len(t) > maxFiles {
		return fmt.Errorf("it has more than %d files", maxFiles)
	}
	total := 0
	for _, data := range t {
		total += len(data)
	}
	if total > maxTree {
		return fmt.Errorf("its files have more than %d bytes in total", maxTree)
	}
	return nil
}

// manifests lists the names of the manifests' files, sorted.
func (t tree) manifests() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(t)), func(file string) bool {
		_, _, ok := manifestName(file)
		return !ok
	})
}

// manifestFolder is the folder of the index in a repository with other content.
const manifestFolder = "plugin-index"

func folderLocation(path string) location {
	return location{local: true, folder: true, fetch: func(context.Context, fetching) (tree, error) { return readFolder(path) }}
}

// folderOf is the folder itself, or its folder plugin-index if there is one.
func folderOf(path string) string {
	inner := filepath.Join(path, manifestFolder)
	if info, err := os.Stat(inner); err == nil && info.IsDir() {
		return inner
	}
	return path
}

// readFolder reads the manifests of a folder, or of its folder plugin-index.
func readFolder(path string) (tree, error) {
	path = folderOf(path)
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, protocol.Invalid("folder %s does not exist", path)
	}
	if err != nil {
		return nil, err
	}
	files := tree{}
	for _, e := range entries {
		if !belongs(e.Name()) {
			continue
		}
		if !e.Type().IsRegular() {
			return nil, fmt.Errorf("%s is not a regular file", e.Name())
		}
		data, err := readFile(filepath.Join(path, e.Name()), limitOf(e.Name()))
		if err != nil {
			return nil, err
		}
		if err := files.add(e.Name(), data); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// readFile reads a file of a limited size.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLimited(f, limit, filepath.Base(path))
}
