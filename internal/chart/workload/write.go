package workload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Write makes a folder of the files of a chart, whole or not at all. A folder
// with something in it, or a file of that name, is an error of status
// protocol.ExitInvalid.
func Write(files map[string][]byte, dir string) error {
	switch entries, err := os.ReadDir(dir); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return protocol.Invalid("%w", err)
	case len(entries) > 0:
		return protocol.Invalid("%s is not empty", dir).WithHint("name a folder that does not exist")
	default:
		if err := os.Remove(dir); err != nil { // a rename takes no folder's place
			return err
		}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	draft, err := os.MkdirTemp(filepath.Dir(dir), ".chart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(draft) // gone already, once it is renamed
	if err := fill(draft, files); err != nil {
		return fmt.Errorf("write chart: %w", err)
	}
	return os.Rename(draft, dir)
}

func fill(dir string, files map[string][]byte) error {
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	for name, content := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
