package lock

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"

	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Check holds plugins against a project's lock file.
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

// Pinned refuses a plugin that the lock file pins and that differs from what it
// pins; see [Check.Plugin].
func (c Check) Pinned(p discovery.Plugin) error {
	if _, ok := c.Lock.Plugin(p.Name); !ok {
		return nil
	}
	return c.Plugin(p)
}

// Plugin refuses a plugin that is not the one that the lock file names. The
// errors are of status protocol.ExitUnsupported.
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
			WithHint("install what is pinned: harmony plugin sync")
	}
	return nil
}

// isOwn reports whether the plugin came with this harmony.
func (c Check) isOwn(p discovery.Plugin) bool {
	if c.Suite == "" || !slices.Contains(suite.Plugins(), p.Name) {
		return false
	}
	file, err := filepath.EvalSymlinks(p.Path)
	return err == nil && filepath.Dir(file) == c.Suite
}

// hash is the SHA-256 of the plugin's file, remembered while the file is the
// same.
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
