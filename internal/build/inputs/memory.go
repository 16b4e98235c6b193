package inputs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// pruneAge is how long a file stays that is not written again.
const pruneAge = 30 * 24 * time.Hour

// Prune removes the files of a memory folder that were not written for a month.
// One that was still useful costs reading its inputs once more.
func Prune(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < pruneAge {
			continue // removed by another run, or young
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("forget old inputs: %w", err)
		}
	}
	return nil
}
