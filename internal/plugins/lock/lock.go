// Package lock pins the plugins of a project: harmony-plugins.lock holds
// the version and the hashes of each, and lies beside harmony.yaml. A release
// runs no plugin that differs from it.
package lock

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/pkg/protocol"
)

// FileName is the name of a project's lock file.
const FileName = "harmony-plugins.lock"

// Kind is the kind of the lock file's document.
const Kind protocol.Kind = "PluginLock"

const (
	maxFile    = 4 << 20
	maxVersion = 128
)

// Lock is what a lock file holds.
type Lock struct {
	protocol.Metadata `json:"-" yaml:"-"`
	// Plugins are sorted by name.
	Plugins []Plugin `json:"plugins" yaml:"plugins"`
}

// Plugin is one plugin of a project.
type Plugin struct {
	// Name without the harmony- prefix, and the Version.
	Name    string `json:"name" yaml:"name"`
	Version string `json:"version" yaml:"version"`
	// Platforms are sorted by platform.
	Platforms []Platform `json:"platforms" yaml:"platforms"`
}

// Platform is the artifact of a plugin for one platform.
type Platform struct {
	// Platform is os/arch: linux/amd64.
	Platform          string `json:"platform" yaml:"platform"`
	artifact.Artifact `yaml:",inline"`
	// Executable is the hash of the executable: what a release compares.
	Executable string `json:"executable" yaml:"executable"`
}

// DocumentKind implements [protocol.Spec].
func (Lock) DocumentKind() protocol.Kind { return Kind }

// Read reads a lock file strictly. A missing one is fs.ErrNotExist; what is
// wrong with it has line numbers and is of status protocol.ExitInvalid.
func Read(file string) (Lock, error) {
	info, err := os.Stat(file)
	if err != nil {
		return Lock{}, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return Lock{}, protocol.Invalid("%s is not a regular file of at most %d bytes", file, maxFile)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return Lock{}, err
	}
	return config.ParseOne[Lock](file, data)
}

// Validate returns all problems at once, as [protocol.FieldErrors], or nil.
func (l Lock) Validate() error {
	var found protocol.FieldErrors
	add := func(field, format string, args ...any) {
		found = append(found, protocol.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	for i, p := range l.Plugins {
		at := fmt.Sprintf("spec.plugins[%d]", i)
		if !protocol.ValidName(p.Name) {
			add(at+".name", "%q is not a plugin's name", p.Name)
		}
		if i > 0 && l.Plugins[i-1].Name >= p.Name {
			add(at+".name", "plugins are sorted by name, and each is there once")
		}
		if _, err := semver.StrictNewVersion(p.Version); err != nil || len(p.Version) > maxVersion {
			add(at+".version", "%q is not a semantic version such as 1.4.0", p.Version)
		}
		if len(p.Platforms) == 0 {
			add(at+".platforms", "is required: one entry for each platform")
		}
		for j, platform := range p.Platforms {
			here := fmt.Sprintf("%s.platforms[%d]", at, j)
			if j > 0 && p.Platforms[j-1].Platform >= platform.Platform {
				add(here+".platform", "platforms are sorted, and each is there once")
			}
			platform.validate(here, add)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found
}

func (p Platform) validate(at string, add func(field, format string, args ...any)) {
	if !regexp.MustCompile(`^[a-z0-9]+/[a-z0-9]+$`).MatchString(p.Platform) {
		add(at+".platform", "%q is not os/arch, for example linux/amd64", p.Platform)
	}
	if p.URI == "" {
		add(at+".uri", "is required")
	}
	if !artifact.ValidHash(p.Executable) {
		add(at+".executable", "must be a SHA-256, 64 hexadecimal digits in lower case")
	}
	p.Artifact.Validate(func(name, format string, args ...any) { add(at+"."+name, format, args...) })
}

// Plugin returns the entry of a plugin.
func (l Lock) Plugin(name string) (Plugin, bool) {
	i := slices.IndexFunc(l.Plugins, func(p Plugin) bool { return p.Name == name })
	if i < 0 {
		return Plugin{}, false
	}
	return l.Plugins[i], true
}

// Platform returns a plugin's artifact for a platform, os/arch.
func (p Plugin) Platform(platform string) (Platform, bool) {
	i := slices.IndexFunc(p.Platforms, func(a Platform) bool { return a.Platform == platform })
	if i < 0 {
		return Platform{}, false
	}
	return p.Platforms[i], true
}

// With returns the lock with a plugin's entry instead of an earlier one.
func (l Lock) With(p Plugin) Lock {
	slices.SortFunc(p.Platforms, func(a, b Platform) int { return strings.Compare(a.Platform, b.Platform) })
	l.Plugins = append(l.Without(p.Name).Plugins, p)
	slices.SortFunc(l.Plugins, func(a, b Plugin) int { return strings.Compare(a.Name, b.Name) })
	return l
}

// Without returns the lock without a plugin's entry.
func (l Lock) Without(name string) Lock {
	l.Plugins = slices.DeleteFunc(slices.Clone(l.Plugins), func(p Plugin) bool { return p.Name == name })
	return l
}

const heading = "# Written by 'harmony plugin lock'; 'harmony plugin sync' installs exactly this.\n"

// Write writes a lock file in one step. The same lock makes the same bytes.
func (l Lock) Write(file string) error {
	if err := l.Validate(); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	text, err := l.encode()
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := atomicfile.Write(file, text, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

func (l Lock) encode() ([]byte, error) {
	if l.Plugins == nil {
		l.Plugins = []Plugin{}
	}
	b := bytes.NewBufferString(heading)
	e := yaml.NewEncoder(b)
	e.SetIndent(2)
	err := e.Encode(struct {
		APIVersion string        `yaml:"apiVersion"`
		Kind       protocol.Kind `yaml:"kind"`
		Spec       Lock          `yaml:"spec"`
	}{protocol.APIVersion, Kind, l})
	return b.Bytes(), errors.Join(err, e.Close())
}

// Find reads the lock file in a folder; found is false when there is none.
func Find(folder string) (lock Lock, found bool, err error) {
	lock, err = Read(filepath.Join(folder, FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return Lock{}, false, nil
	}
	return lock, err == nil, err
}
