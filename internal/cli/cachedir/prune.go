package cachedir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Prune removes the files and folders in dir whose names match the pattern, except the
// newest keep and those younger than age. Other runs may prune dir at the same time.
func Prune(dir, pattern string, keep int, age time.Duration) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var found []fs.FileInfo
	for _, e := range entries {
		info, failed := e.Info()
		if match, bad := filepath.Match(pattern, e.Name()); match && failed == nil && bad == nil {
			found = append(found, info)
		}
	}
	slices.SortFunc(found, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, info := range found[min(keep, len(found)):] {
		if time.Since(info.ModTime()) >= age {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, info.Name())))
		}
	}
	return err
}
