// Package discovery finds plugins: the executables named harmony-NAME in the
// absolute folders of PATH. It runs none of them, but for [Describer].
package discovery

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Prefix starts the file name of every plugin.
const Prefix = "harmony-"

// validName reports whether a plugin can have the name: lower-case letters,
// digits and dashes, of which it does not begin with a dash.
func validName(name string) bool {
	return name != "" && name[0] != '-' && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// Plugin is one file found.
type Plugin struct {
	// Name without the prefix, and the file's absolute Path.
	Name string
	Path string
	// Version is that of a plugin that 'harmony plugin install' installed, or empty:
	// nothing else tells it without running the plugin.
	Version string
	// Refused says why the file is not run, or is empty.
	Refused string
	// Shadowed is what is run in its place, a path or "built-in"; or empty.
	Shadowed string
}

// Finder looks for plugins.
type Finder struct {
	// Path is the value of PATH. Entries that are not absolute are passed over.
	Path string
	// BuiltIn are names that belong to harmony itself.
	BuiltIn []string
	// UID is the caller's user id.
	UID int
}

// folders are the absolute entries of PATH, each once.
func (f Finder) folders() []string {
	var list []string
	seen := map[string]bool{}
	for _, folder := range filepath.SplitList(f.Path) {
		folder = filepath.Clean(folder)
		if !filepath.IsAbs(folder) || seen[folder] {
			continue
		}
		seen[folder] = true
		list = append(list, folder)
	}
	return list
}

// Find returns the plugin that is run for a name. A first match that is refused
// is an error, not passed over for the next: both are of status
// protocol.ExitUnsupported.
func (f Finder) Find(name string) (Plugin, error) {
	if !validName(name) {
		return Plugin{}, protocol.Invalid("%q is not a command or a plugin's name", name)
	}
	for _, folder := range f.folders() {
		path := filepath.Join(folder, Prefix+name)
		info, err := os.Stat(path)
		if err != nil || !runnable(info) {
			continue
		}
		if reason := f.distrust(path); reason != "" {
			return Plugin{}, protocol.Unsupported("plugin %s is refused: %s", path, reason).
				WithHint("make file and folder writable by their owner only, who is root or you")
		}
		return Plugin{Name: name, Path: path}, nil
	}
	return Plugin{}, f.notFound(name)
}

func (f Finder) notFound(name string) error {
	err := protocol.Unsupported("no command %q, and no executable %s%s on PATH", name, Prefix, name)
	known := append([]string{}, f.BuiltIn...)
	for _, p := range f.List() {
		known = append(known, p.Name)
	}
	if near := nearest.Name(name, known); near != "" {
		return err.WithHint("did you mean %s?", near)
	}
	if self, e := os.Executable(); e == nil {
		if info, e := os.Stat(filepath.Join(filepath.Dir(self), Prefix+name)); e == nil && runnable(info) {
			return err.WithHint("it is in %s, which is not on PATH", filepath.Dir(self))
		}
	}
	return err.WithHint("'harmony plugin list' shows the plugins on PATH")
}

// List returns every plugin on PATH in the order in which they are looked for,
// the shadowed and the refused ones too.
func (f Finder) List() []Plugin {
	first := map[string]string{}
	for _, name := range f.BuiltIn {
		first[name] = "built-in"
	}
	var list []Plugin
	for _, folder := range f.folders() {
		entries, err := os.ReadDir(folder)
		if err != nil {
			continue // a PATH may name folders that do not exist
		}
		for _, entry := range entries {
			name, ok := strings.CutPrefix(entry.Name(), Prefix)
			if !ok || !validName(name) {
				continue
			}
			path := filepath.Join(folder, entry.Name())
			if info, err := os.Stat(path); err != nil || !runnable(info) {
				continue
			}
			p := Plugin{Name: name, Path: path, Version: installedVersion(path), Shadowed: first[name], Refused: f.distrust(path)}
			if p.Shadowed == "" {
				first[name] = path
			}
			list = append(list, p)
		}
	}
	return list
}

func runnable(info fs.FileInfo) bool {
	return info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// distrust says why a plugin is not to be run: others could have written it, or
// the folder that it lies in. For a link this holds of both ends.
func (f Finder) distrust(path string) string {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err.Error()
	}
	checked := []string{filepath.Dir(path), target}
	if folder := filepath.Dir(target); folder != filepath.Dir(path) {
		checked = append(checked, folder)
	}
	for _, file := range checked {
		if reason := f.distrustFile(file); reason != "" {
			return reason
		}
	}
	return ""
}

func (f Finder) distrustFile(file string) string {
	info, err := os.Stat(file)
	if err != nil {
		return err.Error()
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Sprintf("%s is writable by others (mode %04o)", file, info.Mode().Perm())
	}
	owner, err := ownerOf(info)
	if err != nil {
		return fmt.Sprintf("%s: %v", file, err)
	}
	if owner != 0 && owner != f.UID {
		return fmt.Sprintf("%s belongs to user %d, neither root nor you", file, owner)
	}
	return ""
}

var errNoOwner = errors.New("the system does not tell who owns it")
