// Package lock pins the plugins of a project: harmony-plugins.lock, next to
// harmony.yaml, has the version and the hashes of each. A release runs no plugin
// that differs from it.
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

	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/pkg/protocol"
)

// FileName is the name of a project's lock file.
const FileName = "harmony-plugins.lock"

// Kind is the kind of the lock file's document.
const Kind protocol.Kind = "PluginLock"

const maxFile = 4 << 20 // bytes

// Lock is the content of a lock file.
type Lock struct {
	protocol.Metadata `json:"-"`
	// Plugins are sorted by name.
	Plugins []Plugin `json:"plugins"`
}

// Plugin is one plugin of a project.
type Plugin struct {
	// Name without the harmony- prefix, and the Version.
	Name    string `json:"name"`
	Version string `json:"version"`
	// Platforms are sorted by platform.
	Platforms []Platform `json:"platforms"`
}

// Platform is the artifact of a plugin for one platform.
type Platform struct {
	// Platform is os/arch: linux/amd64.
	Platform string `json:"platform"`
	artifact.Artifact
	// Executable is the hash of the executable: which a release compares.
	Executable string `json:"executable"`
}

// DocumentKind implements [protocol.Spec].
func (Lock) DocumentKind() protocol.Kind { return Kind }

// Read reads a lock file strictly. A missing file is fs.ErrNotExist; problems have
// line numbers and the status protocol.ExitInvalid.
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
	var p artifact.Problems
	for i, plugin := range l.Plugins {
		at := fmt.Sprintf("spec.plugins[%d]", i)
		if !protocol.ValidName(plugin.Name) {
			p.Add(at+".name", "%q is not a plugin's name", plugin.Name)
		}
		if i > 0 && l.Plugins[i-1].Name >= plugin.Name {
			p.Add(at+".name", "plugins must be sorted by name, without duplicates")
		}
		if !artifact.ValidVersion(plugin.Version) {
			p.Add(at+".version", "%q is not a semantic version such as 1.4.0", plugin.Version)
		}
		if len(plugin.Platforms) == 0 {
			p.Add(at+".platforms", "is required: one entry for each platform")
		}
		for j, platform := range plugin.Platforms {
			here := fmt.Sprintf("%s.platforms[%d]", at, j)
			if j > 0 && plugin.Platforms[j-1].Platform >= platform.Platform {
				p.Add(here+".platform", "platforms must be sorted, without duplicates")
			}
			platform.validate(&p, here)
		}
	}
	return p.Err()
}

func (a Platform) validate(p *artifact.Problems, at string) {
	if !regexp.MustCompile(`^[a-z0-9]+/[a-z0-9]+$`).MatchString(a.Platform) {
		p.Add(at+".platform", "%q is not os/arch, for example linux/amd64", a.Platform)
	}
	if a.URI == "" {
		p.Add(at+".uri", "is required")
	}
	if !artifact.ValidHash(a.Executable) {
		p.Add(at+".executable", "must be a SHA-256, 64 hexadecimal digits in lower case")
	}
	a.Artifact.Validate(p, at)
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

// With returns the lock with a plugin's entry in place of an earlier one.
func (l Lock) With(p Plugin) Lock {
	slices.SortFunc(p.Platforms, func(a, b Platform) int { return strings.Compare(a.Platform, b.Platform) })
	others := slices.DeleteFunc(slices.Clone(l.Plugins), func(other Plugin) bool { return other.Name == p.Name })
	l.Plugins = append(others, p)
	slices.SortFunc(l.Plugins, func(a, b Plugin) int { return strings.Compare(a.Name, b.Name) })
	return l
}

const heading = "# Written by 'harmony plugin lock'; 'harmony plugin sync' installs exactly this.\n"

// Write writes a lock file in one step. The same lock makes the same bytes.
func (l Lock) Write(file string) error {
	if err := l.Validate(); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if l.Plugins == nil {
		l.Plugins = []Plugin{}
	}
	text, err := config.Encode(l)
	if err != nil {
		return err
	}
	text = append([]byte(heading), text...)
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := atomicfile.Write(file, text, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

// Find reads the lock file in a folder; found is false when there is none.
func Find(folder string) (lock Lock, found bool, err error) {
	lock, err = Read(filepath.Join(folder, FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return Lock{}, false, nil
	}
	return lock, err == nil, err
}
