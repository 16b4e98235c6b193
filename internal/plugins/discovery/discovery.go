// Package discovery finds plugins: the executables named harmony-NAME in the
// absolute folders of PATH. It runs none of them, but for [Describer].
package discovery

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/internal/cli/owner"
	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Prefix starts the file name of every plugin.
const Prefix = artifact.Prefix

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
	// other plugins would have to be run to find out.
	Version string
	// Refused says why the file is not run, or is empty.
	Refused string
	// Shadowed is what is run instead, a path or "built-in"; or empty.
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
	// Project is the folder of the project's own plugins, which come before PATH; it
	// may be empty.
	Project string
	// Own are the names of the suite's own plugins. One that lies in OwnFolder,
	// beside harmony, comes before one that 'harmony plugin' installed, unless that
	// was to replace it.
	Own       []string
	OwnFolder string
	// Admit refuses plugins that were found, for example by a lock file; it may be
	// nil.
	Admit func(Plugin) error
}

// SearchPath is the value of PATH by which others find the same plugins.
func (f Finder) SearchPath() string {
	if f.Project == "" || strings.HasPrefix(f.Path, f.Project+string(filepath.ListSeparator)) {
		return f.Path
	}
	return f.Project + string(filepath.ListSeparator) + f.Path
}

// folders are the absolute entries of PATH, each once.
func (f Finder) folders() []string {
	var list []string
	seen := map[string]bool{}
	for _, folder := range filepath.SplitList(f.SearchPath()) {
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
	path := f.lookup(name)
	if path == "" {
		return Plugin{}, f.notFound(name)
	}
	if err := distrust(path, &owner.Checker{UID: f.UID}); err != nil {
		return Plugin{}, protocol.Unsupported("plugin %s is refused: %w", path, err)
	}
	p := Plugin{Name: name, Path: path}
	if f.Admit != nil {
		return p, f.Admit(p)
	}
	return p, nil
}

// lookup is the path of what is run for a name; "" when there is nothing.
func (f Finder) lookup(name string) string {
	first := ""
	for _, folder := range f.folders() {
		if path := filepath.Join(folder, Prefix+name); runnable(path) {
			first = path
			break
		}
	}
	if own := filepath.Join(f.OwnFolder, Prefix+name); slices.Contains(f.Own, name) && f.OwnFolder != "" && runnable(own) {
		if version, replaces := artifact.Link(first); first == "" || version != "" && !replaces {
			return own
		}
	}
	return first
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
		if runnable(filepath.Join(filepath.Dir(self), Prefix+name)) {
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
	for _, name := range f.Own {
		if path := f.lookup(name); path != "" && first[name] == "" {
			first[name] = path
		}
	}
	check := &owner.Checker{UID: f.UID}
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
			if !runnable(path) {
				continue
			}
			p := Plugin{Name: name, Path: path}
			if entry.Type()&os.ModeSymlink != 0 {
				p.Version, _ = artifact.Link(path)
			}
			if err := distrust(path, check); err != nil {
				p.Refused = err.Error()
			}
			if before := first[name]; before != "" && !(slices.Contains(f.Own, name) && sameFile(path, before)) {
				p.Shadowed = before
			} else {
				first[name] = path
			}
			list = append(list, p)
		}
	}
	return list
}

func runnable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func sameFile(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}

// distrust refuses a plugin that others could have written or replaced, or added
// to its folder: neither the folder on PATH nor that of the file itself may be one
// in which everybody creates files.
func distrust(path string, check *owner.Checker) error {
	if err := check.Check(filepath.Dir(path)); err != nil {
		return err
	}
	file, err := check.Real(path)
	if err != nil {
		return err
	}
	return check.Check(filepath.Dir(file))
}

// Warnings reports what is dangerous about PATH itself: entries that depend on the
// current folder, and folders that others can write. No plugin is run from them,
// but other programs may be.
func (f Finder) Warnings() []string {
	var list []string
	for i, entry := range filepath.SplitList(f.Path) {
		switch {
		case entry == "" || filepath.Clean(entry) == ".":
			list = append(list, fmt.Sprintf("entry %d of PATH is the current folder: no plugin is run from it", i+1))
		case !filepath.IsAbs(entry):
			list = append(list, fmt.Sprintf("entry %d of PATH, %q, is relative to the current folder: no plugin is run from it", i+1, entry))
		}
	}
	check := &owner.Checker{UID: f.UID}
	for _, folder := range f.folders() {
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			continue // a PATH may name folders that do not exist
		}
		if err := check.Check(folder); err != nil {
			list = append(list, "no plugin is run from a folder on PATH: "+err.Error())
		}
	}
	return list
}
