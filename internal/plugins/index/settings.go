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
	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The project's own index, which is used when none is configured.
const (
	DefaultName = "default"
	DefaultURL  = "https://harmony.nationtech.io/plugin-index"
)

// Index is one configured index.
type Index struct {
	Name string `json:"name"`
	// URL is a git repository (git+https://, ssh://, git+file:/// or any that ends
	// in .git), an OCI artifact (oci://), an https tree or a folder.
	URL string `json:"url"`
	// Key is the public key of the manifests' signatures: a minisign key, one line
	// that begins with RW, or a cosign key in PEM. Empty when the index is unsigned.
	Key string `json:"key,omitempty"`
}

// Found is a plugin that an index offers.
type Found struct {
	Index    Index
	Manifest Manifest
}

// Outside reports whether the index is on another machine, so that the addresses in
// it must not lead to this one.
func (f Found) Outside() bool {
	source, err := parseLocation(f.Index.URL)
	return err != nil || !source.local && !source.here
}

// dirs are harmony's folders of the user: ~/.config/harmony and so on.
type dirs struct{ config, cache, state string }

// dirsOf finds the folders by the environment: XDG_CONFIG_HOME, XDG_CACHE_HOME
// and XDG_STATE_HOME, or their defaults in HOME.
func dirsOf(getenv func(string) string) (dirs, error) {
	home := getenv("HOME")
	folder := func(variable, otherwise string) string {
		base := getenv(variable)
		if !filepath.IsAbs(base) {
			base = filepath.Join(home, otherwise)
		}
		return filepath.Join(base, "harmony")
	}
	cache, err := cachedir.Folder(getenv)
	d := dirs{folder("XDG_CONFIG_HOME", ".config"), cache, folder("XDG_STATE_HOME", ".local/state")}
	if err == nil && !(filepath.IsAbs(d.config) && filepath.IsAbs(d.state)) {
		return d, protocol.Invalid("HOME is not set: there is no folder for the plugin indexes").
			WithHint("set HOME, or XDG_CONFIG_HOME and XDG_STATE_HOME")
	}
	return d, err
}

// SettingsFile is the name of the file that lists the indexes, in the folder of
// the configuration.
const SettingsFile = "plugin-indexes.yaml"

// settings is the content of that file.
type settings struct {
	protocol.Metadata `json:"-"`
	// Indexes are in the order in which they were added.
	Indexes []Index `json:"indexes"`
}

// DocumentKind implements [protocol.Spec].
func (settings) DocumentKind() protocol.Kind { return "PluginIndexes" }

// Validate returns all problems at once, as [protocol.FieldErrors], or nil.
func (s settings) Validate() error {
	var p artifact.Problems
	seen := map[string]bool{}
	for i, index := range s.Indexes {
		field := fmt.Sprintf("spec.indexes[%d]", i)
		index.validate(&p, field)
		if seen[index.Name] {
			p.Add(field+".name", "%q is the name of an earlier index too", index.Name)
		}
		seen[index.Name] = true
	}
	return p.Err()
}

func (i Index) validate(p *artifact.Problems, field string) {
	if !protocol.ValidName(i.Name) {
		p.Add(field+".name", "%q is not a name: lower-case letters, digits and dashes, at most 53", i.Name)
	}
	if _, err := parseLocation(i.URL); err != nil {
		p.Add(field+".url", "%v", err)
	}
	if _, err := parseKey(i.Key); err != nil {
		p.Add(field+".key", "%v", err)
	}
}

func (s *Store) settingsFile() string { return filepath.Join(s.dirs.config, SettingsFile) }

// Indexes lists the configured indexes; without a configuration, the project's own.
func (s *Store) Indexes() ([]Index, error) {
	if s.homeless != nil {
		return nil, s.homeless
	}
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

// blankKeys refuses an index whose key is written and blank: its author wants
// signatures.
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

// Add configures another index after fetching and verifying it: with a key, every
// manifest must be signed.
func (s *Store) Add(ctx context.Context, index Index) error {
	var p artifact.Problems
	index.Key = strings.TrimSpace(index.Key)
	index.validate(&p, "index")
	if err := p.Err(); err != nil {
		return protocol.Invalid("%w", err)
	}
	return s.change(ctx, func(indexes []Index) ([]Index, error) {
		if _, err := named(index.Name, indexes); err == nil {
			return nil, protocol.Invalid("index %s already exists", index.Name).
				WithHint("remove it first with 'harmony plugin index remove %s', or choose another name", index.Name)
		}
		if _, err := s.fetch(ctx, index); err != nil {
			return nil, err
		}
		return append(indexes, index), nil
	})
}

// Remove forgets an index and its copy, but not the versions that it has offered:
// removing and adding it must not open the way to older ones.
func (s *Store) Remove(ctx context.Context, name string) error {
	return s.change(ctx, func(indexes []Index) ([]Index, error) {
		if _, err := named(name, indexes); err != nil {
			return nil, err
		}
		if err := os.Remove(s.copyFile(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return slices.DeleteFunc(indexes, func(i Index) bool { return i.Name == name }), nil
	})
}

// change rewrites the configuration, one process at a time.
func (s *Store) change(ctx context.Context, edit func([]Index) ([]Index, error)) error {
	if s.homeless != nil {
		return s.homeless
	}
	lock, err := atomicfile.Lock(ctx, filepath.Join(s.dirs.config, ".plugin-indexes.lock"), nil)
	if err != nil {
		return err
	}
	defer lock.Close()
	indexes, err := s.Indexes()
	if err != nil {
		return err
	}
	if indexes, err = edit(indexes); err != nil {
		return err
	}
	text, err := config.Encode(settings{Indexes: indexes})
	if err != nil {
		return err
	}
	return atomicfile.Write(s.settingsFile(), text, 0o600)
}

// named is the index of that name.
func named(name string, indexes []Index) (Index, error) {
	var names []string
	for _, index := range indexes {
		if index.Name == name {
			return index, nil
		}
		names = append(names, index.Name)
	}
	return Index{}, protocol.Invalid("there is no index %q", name).
		WithHint("%s", nearest.Hint(name, names, "list the configured ones with 'harmony plugin index list'"))
}

// selected are the indexes to search.
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
		_, err := named(s.Only, indexes)
		return nil, err
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
