package suite

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Sibling is the suite's own plugin of that name, beside this very file; one that
// comes earlier on PATH is never taken for it. The error is of status
// protocol.ExitUnsupported when it is not there or not to be trusted.
func Sibling(name string) (discovery.Plugin, error) {
	folder := Folder()
	path := filepath.Join(folder, discovery.Prefix+name)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return discovery.Plugin{}, protocol.Unsupported("%s, a part of the suite, is not there", path).
			WithHint("install all binaries of the suite into one folder, as 'make install' does")
	}
	return discovery.Finder{Path: folder, UID: os.Getuid()}.Find(name)
}

// Finder finds the plugins that harmony runs: those on a PATH, and its own where
// they lie beside this very file.
func Finder(path string) discovery.Finder {
	return discovery.Finder{Path: path, BuiltIn: BuiltIn(), UID: os.Getuid(), Own: Plugins(), OwnFolder: Folder()}
}
