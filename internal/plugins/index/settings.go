package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/internal/cli/cachedir"
	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The index that is used when none is configured: that of the project.
const (
	DefaultName = "default"
	DefaultURL  = "https://harmony.nationtech.io/plugin-index"
)

// Index is one configured index.
type Index struct {
	// Name is how a person calls it.
	Name string `json:"name"`
	// URL is a git repository (git+https://, ssh://, git+file:/// or any that ends
	// in .git), an OCI artifact (oci://), an https tree or a folder.
	URL string `json:"url"`
	// Key is the public key that every manifest is signed with: a minisign key,
	// one line that begins with RW, or a cosign key in PEM. Empty when the index
	// is not signed.
	Key string `json:"key,omitempty"`
}

// Found is a plugin that an index offers.
type Found struct {
	Index    Index
	Manifest Manifest
}

// Outside reports whether the index lies elsewhere, so that what it names must not
// lead to this machine.
func (f Found) Outside() bool {
	source, err := parseLocation(f.Index.URL)
	return err != nil || !source.local && !source.here
}

// Dirs are the folders of the user in which this package keeps files. Each is
// that of harmony: ~/.config/harmony and so on.
type Dirs struct{ Config, Cache, State string }

// DirsOf finds the folders by the environment: XDG_CONFIG_HOME, XDG_CACHE_HOME
// and XDG_STATE_HOME, or their defaults in HOME.
func DirsOf(getenv func(string) string) (Dirs, error) {
	home := getenv("HOME")
	folder := func(variable, otherwise string) string {
		base := getenv(variable)
		if !filepath.IsAbs(base) {
			base = filepath.Join(home, otherwise)
		}
		return filepath.Join(base, "harmony")
	}
	cache, err := cachedir.Folder(getenv)
	if err != nil {
		return Dirs{}, err
	}
	d := Dirs{folder("XDG_CONFIG_HOME", ".config"), cache, folder("XDG_STATE_HOME", ".local/state")}
	for _, dir := range []string{d.Config, d.State} {
		if !filepath.IsAbs(dir) {
			return Dirs{}, protocol.Invalid("HOME is not set: there is no folder for the plugin indexes").
				WithHint("set HOME, or XDG_CONFIG_HOME and XDG_STATE_HOME")
		}
	}
	return d, nil
}

// DefaultDirs are those of this process's environment.
func DefaultDirs() (Dirs, error) { return DirsOf(os.Getenv) }

// SettingsFile is the name of the file that lists the indexes, in the folder of
// the configuration.
const SettingsFile = "plugin-indexes.yaml"

// settings is what that file holds.
type settings struct {
	protocol.Metadata `json:"-"`
	// Indexes are in the order in which they were added.
	Indexes []Index `json:"indexes"`
}

// DocumentKind implements [protocol.Spec].
func (settings) DocumentKind() protocol.Kind { return "PluginIndexes" }

// Validate returns all problems at once, as [protocol.FieldErrors], or nil.
func (s settings) Validate() error {
	var p problems
	seen := map[string]bool{}
	for i, index := range s.Indexes {
		field := fmt.Sprintf("spec.indexes[%d]", i)
		index.validate(&p, field)
		if seen[index.Name] {
			p.add(field+".name", "there is an earlier index %q", index.Name)
		}
		seen[index.Name] = true
	}
	return p.err()
}

func (i Index) validate(p *problems, field string) {
	if !protocol.ValidName(i.Name) {
		p.add(field+".name", "%q is not a name: lower-case letters, digits and dashes, at most 53", i.Name)
	}
	if _, err := parseLocation(i.URL); err != nil {
		p.add(field+".url", "%v", err)
	}
	if _, err := parseKey(i.Key); err != nil {
		p.add(field+".key", "%v", err)
	}
}

func (s *Store) settingsFile() string { return filepath.Join(s.dirs.Config, SettingsFile) }

// Indexes lists the configured indexes; that of the project when there is no
// configuration.
func (s *Store) Indexes() ([]Index, error) {
	data, err := readFile(s.settingsFile(), 1<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return []Index{{Name: DefaultName, URL: DefaultURL}}, nil
	}
	if err != nil {
		return nil, protocol.Invalid("read %s: %w", s.settingsFile(), err)
	}
	have, err := config.ParseOne[settings](s.settingsFile(), data)
	if err != nil {
		return nil, err
	}
	return have.Indexes, blankKeys(s.settingsFile(), data)
}

// blankKeys refuses an index with a key that is there and blank: whoever wrote it
// wants signatures.
func blankKeys(file string, data []byte) error {
	var written struct {
		Spec struct {
			Indexes []map[string]any `yaml:"indexes"`
		} `yaml:"spec"`
	}
	if err := yaml.Unmarshal(data, &written); err != nil {
		return protocol.Invalid("%s: %w", file, err)
	}
	for i, index := range written.Spec.Indexes {
		key, there := index["key"]
		if text, _ := key.(string); there && strings.TrimSpace(text) == "" {
			return protocol.Invalid("%s: spec.indexes[%d].key: is empty", file, i).WithHint("leave the key out for an index that is not signed")
		}
	}
	return nil
}

// Add configures another index, once it was fetched and found right: with a key,
// all its manifests are signed.
func (s *Store) Add(ctx context.Context, index Index) error {
	var p problems
	index.Key = strings.TrimSpace(index.Key)
	index.validate(&p, "index")
	if err := p.err(); err != nil {
		return protocol.Invalid("%w", err)
	}
	return s.change(func(indexes []Index) ([]Index, error) {
		if slices.ContainsFunc(indexes, func(i Index) bool { return i.Name == index.Name }) {
			return nil, protocol.Invalid("there is an index %s already", index.Name).
				WithHint("'harmony plugin index remove %s' first, or choose another name", index.Name)
		}
		if _, err := s.fetch(ctx, index); err != nil {
			return nil, err
		}
		return append(indexes, index), nil
	})
}

// Remove forgets an index and its copy; not the versions that it has offered, so
// that adding it again is no way to be offered older ones.
func (s *Store) Remove(name string) error {
	return s.change(func(indexes []Index) ([]Index, error) {
		at := slices.IndexFunc(indexes, func(i Index) bool { return i.Name == name })
		if at < 0 {
			return nil, unknownIndex(name, indexes)
		}
		if err := os.Remove(s.copyFile(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return slices.Delete(indexes, at, at+1), nil
	})
}

// change writes the configuration anew, as one at a time.
func (s *Store) change(edit func([]Index) ([]Index, error)) error {
	unlock, err := lock(s.dirs.Config, ".plugin-indexes.lock")
	if err != nil {
		return err
	}
	defer unlock()
	indexes, err := s.Indexes()
	if err != nil {
		return err
	}
	if indexes, err = edit(indexes); err != nil {
		return err
	}
	if indexes == nil {
		indexes = []Index{}
	}
	text, err := Encode(settings{Indexes: indexes})
	if err != nil {
		return err
	}
	return atomicfile.Write(s.settingsFile(), text, 0o600)
}

func unknownIndex(name string, indexes []Index) error {
	names := make([]string, len(indexes))
	for i, index := range indexes {
		names[i] = index.Name
	}
	err := protocol.Invalid("there is no index %q", name)
	if near := nearest.Name(name, names); near != "" {
		return err.WithHint("did you mean %s?", near)
	}
	return err.WithHint("'harmony plugin index list' shows those that are configured")
}

// selected are the indexes to look in.
func (s *Store) selected() ([]Index, error) {
	indexes, err := s.Indexes()
	if err != nil || s.Only == "" {
		return indexes, err
	}
	for _, index := range indexes {
		if index.Name == s.Only || index.URL == s.Only { // with its key, also by address
			return []Index{index}, nil
		}
	}
	if protocol.ValidName(s.Only) {
		return nil, unknownIndex(s.Only, indexes)
	}
	address := s.Only
	if !strings.Contains(address, "://") && !strings.Contains(address, "@") {
		if address, err = filepath.Abs(address); err != nil {
			return nil, err
		}
	}
	index := Index{Name: "at-" + hashOf([]byte(address))[:12], URL: address}
	_, err = parseLocation(address)
	return []Index{index}, err
}
