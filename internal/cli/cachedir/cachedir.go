// Package cachedir finds the folder of the suite's caches, the same for every binary, and
// removes what is old in a cache. Its files decide what is built and run, so nobody else
// may be able to write to it.
package cachedir

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/nationtech/harmony/internal/cli/owner"
)

// Folder is $XDG_CACHE_HOME/harmony, or harmony in the user's cache folder. If that
// cannot be written, for example without a writable HOME, or others could write to it, it
// is a private folder in the temporary one. The folder exists.
func Folder(getenv func(string) string) (string, error) {
	if base := base(getenv); filepath.IsAbs(base) {
		if folder := filepath.Join(base, "harmony"); usable(folder) {
			return folder, nil
		}
	}
	return temporary(os.TempDir())
}

// In returns the cache folder of that name from this process's environment, or "".
func In(name string) string {
	folder, err := Folder(os.Getenv)
	if err != nil {
		return ""
	}
	return filepath.Join(folder, name)
}

// base is the folder of the user's caches, or "".
func base(getenv func(string) string) string {
	home := getenv("HOME")
	switch xdg := getenv("XDG_CACHE_HOME"); {
	case filepath.IsAbs(xdg):
		return xdg
	case home == "":
		return ""
	case runtime.GOOS == "darwin":
		return filepath.Join(home, "Library", "Caches")
	}
	return filepath.Join(home, ".cache")
}

// usable makes the folder where it is missing, and reports whether this user can
// write to it and no other one can.
func usable(folder string) bool {
	const all = 7 // read, write and search
	return os.MkdirAll(folder, 0o700) == nil && owner.Check(folder) == nil && syscall.Access(folder, all) == nil
}

// temporary is harmony-UID in the temporary folder, if it is this user's alone. Another
// user may have created it, and then a new folder is used for this run.
func temporary(dir string) (string, error) {
	folder := filepath.Join(dir, fmt.Sprintf("harmony-%d", os.Getuid()))
	if err := os.Mkdir(folder, 0o700); err == nil || os.IsExist(err) {
		info, err := os.Lstat(folder)
		if err == nil && info.Mode() == os.ModeDir|0o700 && usable(folder) {
			return folder, nil
		}
	}
	return os.MkdirTemp(dir, "harmony-")
}
