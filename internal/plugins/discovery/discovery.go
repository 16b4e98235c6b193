// Package discovery finds plugins: executables named harmony-NAME in the absolute
// folders of PATH. Only [Describer] runs them.
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
	// Version is that of a plugin installed by 'harmony plugin install'; empty for
	// others, which would have to run to report it.
	Version string
	// Refused is why the file is not run, or empty.
	Refused string
	// Shadowed is what runs instead, a path or "built-in"; or empty.
	Shadowed string
}

// Finder finds plugins.
type Finder struct {
	// Path is the value of PATH. Relative entries are ignored.
	Path string
	// BuiltIn are the names of harmony's own commands.
	BuiltIn []string
	// UID is the caller's user id.
	UID int
	// Project is the folder of the project's own plugins, which come before PATH; it
	// may be empty.
	Project string
	// Own are the names of the suite's own plugins. One in OwnFolder, next to harmony,
	// comes before one that 'harmony plugin' installed, unless that was installed to
	// replace it.
	Own       []string
	OwnFolder string
	// Admit may refuse a plugin that was found, for example because of a lock file; it
	// may be nil.
	Admit func(Plugin) error
}

// SearchPath is the value of PATH with which other programs find the same plugins.
func (f Finder) SearchPath() string {
	if f.Project == "" || strings.HasPrefix(f.Path, f.Project+string(filepath.ListSeparator)) {
		return f.Path
	}
	return f.Project + string(filepath.ListSeparator) + f.Path
}

// folders are the absolute entries of PATH, each once.
func (f Finder) folders() []string {
	var list []string
	for _, folder := range filepath.SplitList(f.SearchPath()) {
		if folder = filepath.Clean(folder); filepath.IsAbs(folder) && !slices.Contains(list, folder) {
			list = append(list, folder)
		}
	}
	return list
}

// Find returns the plugin that runs for a name. If the first match is refused, later
// ones are not considered. Errors are of status protocol.ExitUnsupported.
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

// lookup is the path of the file that runs for a name, or "".
func (f Finder) lookup(name string) string {
	first := ""
	folders := f.folders()
	if i := slices.IndexFunc(folders, func(folder string) bool { return runnable(filepath.Join(folder, Prefix+name)) }); i >= 0 {
		first = filepath.Join(folders[i], Prefix+name)
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
	hint := "list the plugins on PATH with 'harmony plugin list'"
	if self, e := os.Executable(); e == nil && runnable(filepath.Join(filepath.Dir(self), Prefix+name)) {
		hint = "it is in " + filepath.Dir(self) + ", which is not on PATH"
	}
	return err.WithHint("%s", nearest.Hint(name, known, hint))
}

// List returns all plugins on PATH in search order, including shadowed and refused
// ones.
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
		entries, _ := os.ReadDir(folder) // PATH may name folders that do not exist
		for _, entry := range entries {
			name, ok := strings.CutPrefix(entry.Name(), Prefix)
			p := Plugin{Name: name, Path: filepath.Join(folder, entry.Name())}
			if !ok || !validName(name) || !runnable(p.Path) {
				continue
			}
			p.Version, _ = artifact.Link(p.Path)
			if err := distrust(p.Path, check); err != nil {
				p.Refused = err.Error()
			}
			if before := first[name]; before != "" && !(slices.Contains(f.Own, name) && SameFile(p.Path, before)) {
				p.Shadowed = before
			} else {
				first[name] = p.Path
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

// SameFile reports whether two paths lead to one existing file.
func SameFile(a, b string) bool {
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(x, y)
}

// distrust refuses a plugin that others could have written, replaced or added: neither
// the folder on PATH nor that of the file may be one in which everybody can create
// files.
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

// Warnings reports dangerous entries of PATH: those that depend on the current folder,
// and folders that others can write. No plugin runs from them, but other programs may.
func (f Finder) Warnings() []string {
	var list []string
	for i, entry := range filepath.SplitList(f.Path) {
		switch {
		case entry == "" || filepath.Clean(entry) == ".":
			list = append(list, fmt.Sprintf("entry %d of PATH is the current folder: no plugin runs from it", i+1))
		case !filepath.IsAbs(entry):
			list = append(list, fmt.Sprintf("entry %d of PATH, %q, is relative to the current folder: no plugin runs from it", i+1, entry))
		}
	}
	check := &owner.Checker{UID: f.UID}
	for _, folder := range f.folders() {
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			continue // a PATH may name folders that do not exist
		}
		if err := check.Check(folder); err != nil {
			list = append(list, "no plugin runs from a folder on PATH: "+err.Error())
		}
	}
	return list
}
