package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nationtech/harmony/pkg/protocol"
)

// manifestFolder is where a repository that holds more than an index keeps it.
const manifestFolder = "plugin-index"

func folderLocation(path string) location {
	return location{local: true, folder: true, fetch: func(context.Context, fetching) (tree, error) { return readFolder(path) }}
}

// holding is the folder itself, or its folder plugin-index where it has one.
func holding(path string) string {
	inner := filepath.Join(path, manifestFolder)
	if info, err := os.Stat(inner); err == nil && info.IsDir() {
		return inner
	}
	return path
}

// readFolder reads the manifests of a folder, or of its folder plugin-index.
func readFolder(path string) (tree, error) {
	path = holding(path)
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, protocol.Invalid("there is no folder %s", path)
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
