package cachedir_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/cli/cachedir"
)

// find returns the folder for an environment, with the temporary folder in temp.
func find(t *testing.T, temp string, env map[string]string) string {
	t.Helper()
	t.Setenv("TMPDIR", temp)
	folder, err := cachedir.Folder(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(folder)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%s: %v, %v", folder, info, err)
	}
	return folder
}

func mkdir(t *testing.T, mode os.FileMode, parts ...string) string {
	t.Helper()
	folder := filepath.Join(parts...)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(folder, mode); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestFolder(t *testing.T) {
	home, xdg, temp := t.TempDir(), t.TempDir(), t.TempDir()
	cache := filepath.Join(home, ".cache")
	if runtime.GOOS == "darwin" {
		cache = filepath.Join(home, "Library", "Caches")
	}
	file := filepath.Join(home, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open := mkdir(t, 0o777, home, "open")
	mkdir(t, 0o700, open, "harmony")
	ownOpen := mkdir(t, 0o700, home, "own-open")
	mkdir(t, 0o777, ownOpen, "harmony")
	group := mkdir(t, 0o775, home, "group") // umask 002
	own := filepath.Join(temp, fmt.Sprintf("harmony-%d", os.Getuid()))
	for name, test := range map[string]struct {
		env  map[string]string
		want string
	}{
		"XDG":                     {map[string]string{"XDG_CACHE_HOME": xdg, "HOME": home}, filepath.Join(xdg, "harmony")},
		"home":                    {map[string]string{"HOME": home}, filepath.Join(cache, "harmony")},
		"XDG is relative":         {map[string]string{"XDG_CACHE_HOME": "x", "HOME": home}, filepath.Join(cache, "harmony")},
		"umask 002":               {map[string]string{"XDG_CACHE_HOME": group}, filepath.Join(group, "harmony")},
		"no home":                 {nil, own},
		"home is no folder":       {map[string]string{"HOME": file}, own},
		"home cannot be made":     {map[string]string{"HOME": "/proc/nowhere"}, own},
		"others can replace it":   {map[string]string{"XDG_CACHE_HOME": open}, own},
		"others can write to it":  {map[string]string{"XDG_CACHE_HOME": ownOpen}, own},
		"XDG cannot be written":   {map[string]string{"XDG_CACHE_HOME": "/proc", "HOME": home}, own},
		"the temporary one again": {nil, own},
	} {
		t.Run(name, func(t *testing.T) {
			if got := find(t, temp, test.env); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

// Nobody is believed who was faster with the predictable name.
func TestTemporaryFolderOfOthers(t *testing.T) {
	name := fmt.Sprintf("harmony-%d", os.Getuid())
	elsewhere := t.TempDir()
	for what, prepare := range map[string]func(temp string) error{
		"open":   func(temp string) error { mkdir(t, 0o777, temp, name); return nil },
		"a link": func(temp string) error { return os.Symlink(elsewhere, filepath.Join(temp, name)) },
		"a file": func(temp string) error { return os.WriteFile(filepath.Join(temp, name), nil, 0o600) },
		"another user's": func(temp string) error {
			mkdir(t, 0o700, temp, name)
			if os.Getuid() == 0 {
				return os.Chown(filepath.Join(temp, name), 65534, 65534)
			}
			return os.Chmod(filepath.Join(temp, name), 0o770)
		},
		"one that others can replace": func(temp string) error { return os.Chmod(temp, 0o777) },
	} {
		t.Run(what, func(t *testing.T) {
			temp := t.TempDir()
			if err := prepare(temp); err != nil {
				t.Fatal(err)
			}
			first, second := find(t, temp, nil), find(t, temp, nil)
			if first == second || filepath.Base(first) == name || !strings.HasPrefix(first, temp) {
				t.Errorf("got %s and %s", first, second)
			}
		})
	}
}
