package dockerfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/nationtech/harmony/pkg/protocol"
)

// maxSize bounds what is read of a Dockerfile or an ignore file. The longest
// that people wrote have some thousand lines.
const maxSize = 512 << 10

// Read reads the Dockerfile at a path, called name in messages.
func Read(path, name string) ([]byte, error) {
	data, err := readSmall(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, protocol.Invalid("%s: no such file", name)
	case err != nil:
		return nil, protocol.Invalid("%s: %w", name, err)
	}
	return data, nil
}

// readSmall reads a regular file of at most maxSize bytes.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = fmt.Errorf("larger than %d KiB", maxSize>>10)
	}
	return data, err
}
