package lock

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"

	"github.com/nationtech/harmony/internal/cli/cachedir"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Check compares plugins with a project's lock file.
type Check struct {
	// File is the lock file, for messages.
	File string
	Lock Lock
	// Suite is the folder of harmony itself: the suite's own plugins in it need no
	// entry. None is exempt when it is empty.
	Suite string
	// Cache is the folder for hashes; none are kept when it is empty.
	Cache string
}

// pinned refuses a plugin that the lock file pins and that differs from its entry; see
// [Check.Plugin].
func (c Check) pinned(p discovery.Plugin) error {
	if _, ok := c.Lock.Plugin(p.Name); !ok {
		return nil
	}
	return c.Plugin(p)
}

// Plugin refuses a plugin that is not the one in the lock file. The errors are of
// status protocol.ExitUnsupported.
func (c Check) Plugin(p discovery.Plugin) error {
	entry, ok := c.Lock.Plugin(p.Name)
	if !ok {
		if c.isOwn(p) {
			return nil
		}
		return protocol.Unsupported("plugin %s is not in %s", p.Path, c.File).
			WithHint("if it belongs to the project: harmony plugin lock %s", p.Name)
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	pinned, ok := entry.Platform(platform)
	if !ok {
		return protocol.Unsupported("%s has no hash of plugin %s for %s", c.File, p.Name, platform).
			WithHint("pin it for this platform: harmony plugin lock %s", p.Name)
	}
	sum, err := c.hash(p)
	if err != nil {
		return fmt.Errorf("compare plugin %s with %s: %w", p.Path, c.File, err)
	}
	if sum != pinned.Executable {
		return protocol.Unsupported("plugin %s differs from %s, which pins %s %s (SHA-256 %s…, the file has %s…)",
			p.Path, c.File, p.Name, entry.Version, pinned.Executable[:12], sum[:12]).
			WithHint("install the pinned plugins: harmony plugin sync")
	}
	return nil
}

// isOwn reports whether the plugin is part of this harmony.
func (c Check) isOwn(p discovery.Plugin) bool {
	if c.Suite == "" || !slices.Contains(suite.Plugins(), p.Name) {
		return false
	}
	file, err := filepath.EvalSymlinks(p.Path)
	return err == nil && filepath.Dir(file) == c.Suite
}

// hash is the SHA-256 of the plugin's file, cached while the file stays the same.
func (c Check) hash(p discovery.Plugin) (string, error) {
	file, err := discovery.Identify(p.Path)
	if err != nil {
		return "", err
	}
	memory := discovery.Memory{Folder: c.Cache}
	var sum string
	if kept, ok := memory.Recall(file); ok && json.Unmarshal(kept, &sum) == nil {
		return sum, nil
	}
	if sum, err = artifact.HashFile(file.Path); err != nil {
		return "", err
	}
	memory.Keep(file, json.RawMessage(strconv.Quote(sum)))
	return sum, nil
}

// EnvFile names the lock file for the stages of a release and their children.
const EnvFile = "HARMONY_PLUGINS_LOCK"

// Of is the check against the lock file in a project's folder, if there is one.
func Of(folder string) (c Check, found bool, err error) {
	lock, found, err := Find(folder)
	if !found || err != nil {
		return Check{}, false, err
	}
	c = Check{File: filepath.Join(folder, FileName), Lock: lock, Suite: suite.Folder()}
	// A cache that a CI job restores is not trusted.
	if os.Getenv("CI") == "" {
		c.Cache = cachedir.In("hashes")
	}
	return c, true, nil
}

// here is the check that applies to this process: against the lock file of the release
// that started it, or else of the project in the current folder.
func here() (Check, bool, error) {
	if file := os.Getenv(EnvFile); file != "" {
		return Of(filepath.Dir(file))
	}
	file, err := config.Find("")
	if errors.Is(err, config.ErrNoFile) {
		return Check{}, false, nil
	}
	if err != nil {
		return Check{}, false, err
	}
	return Of(filepath.Dir(file))
}

// Finder finds the plugins of this process on a PATH. Where a lock file applies,
// plugins that 'harmony plugin sync' installed for the project come first, and those
// that differ from the file are refused.
func Finder(path string) discovery.Finder { return finder(path, Check.Plugin) }

// Command finds the plugin for a command that a user typed. A plugin that the lock file
// does not name is not the project's, and may run.
func Command(path string) discovery.Finder { return finder(path, Check.pinned) }

// OfSuite finds a binary of the suite that this one runs: beside it, else, where the two
// were installed one by one, on PATH.
func OfSuite(path, name string) (discovery.Plugin, error) {
	plugin, err := Finder(path).Find(name)
	if err == nil {
		return plugin, nil
	}
	if _, missing := suite.Sibling(name); missing != nil {
		return plugin, protocol.Unsupported("%w", missing).WithHint("%s; or: harmony plugin install %s --replace-suite", protocol.HintOf(missing), name)
	}
	return plugin, err
}

func finder(path string, admit func(Check, discovery.Plugin) error) discovery.Finder {
	f := suite.Finder(path)
	c, found, err := here()
	switch {
	case err != nil:
		f.Admit = func(discovery.Plugin) error { return err }
	case found:
		f = c.Finder(f)
		f.Admit = func(p discovery.Plugin) error { return admit(c, p) }
	}
	return f
}

// Finder makes a finder search the project's own store first.
func (c Check) Finder(f discovery.Finder) discovery.Finder {
	folder, err := artifact.ProjectStore(os.Getenv, filepath.Dir(c.File))
	if err != nil { // no home: nothing is installed
		return f
	}
	f.Project = filepath.Join(folder, artifact.Bin)
	return f
}
