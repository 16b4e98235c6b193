package store

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Artifact is one version of a plugin for one platform, and where it is.
type Artifact struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Index is the name of the index that offers the plugin.
	Index string `json:"index,omitempty"`
	artifact.Artifact
	// Executable is the hash of the executable; any is accepted when empty.
	Executable string `json:"executable"`
	// Protocol is the range that the plugin speaks; unchecked when zero.
	Protocol protocol.ProtocolRange `json:"protocol,omitzero"`
	// Outside is true when the URI must not lead to this machine's ports.
	Outside bool `json:"-"`
	// Others maps the hashes of the other platforms' artifacts to their platforms, for
	// the error when a download turns out to be one of them.
	Others map[string]string `json:"-"`
}

// check validates, again, everything that becomes part of a path, and the protocol.
func (a Artifact) check() error {
	if err := CheckName(a.Name); err != nil {
		return err
	}
	if !artifact.ValidVersion(a.Version) {
		return protocol.Invalid("plugin %s: %q is not a semantic version such as 1.4.0", a.Name, a.Version)
	}
	if !artifact.ValidHash(a.SHA256) || a.Size <= 0 {
		return protocol.Invalid("plugin %s %s: the artifact has no hash or no size", a.Name, a.Version)
	}
	if bin := a.bin(); !filepath.IsLocal(bin) || path.Clean(bin) != bin || strings.Contains(bin, `\`) {
		return protocol.Invalid("plugin %s %s: %q is not a path within the archive", a.Name, a.Version, bin)
	}
	if a.Protocol == (protocol.ProtocolRange{}) {
		return nil
	}
	return discovery.CheckProtocol("plugin "+a.Name+" "+a.Version, a.Protocol)
}

// CheckName refuses invalid names, and those of built-in commands, which no plugin
// can replace.
func CheckName(name string) error {
	if !protocol.ValidName(name) {
		return protocol.Invalid("%q is not a plugin's name: lower-case letters, digits and dashes, at most 53", name)
	}
	if slices.Contains(suite.BuiltIn(), name) {
		return protocol.Invalid("%q is a command of harmony itself: a plugin with that name could never run", name)
	}
	return nil
}

func (a Artifact) bin() string { return a.Binary(a.Name) }

// verify compares the hash of what was downloaded.
func (a Artifact) verify(sum string) error {
	if sum == a.SHA256 {
		return nil
	}
	if platform, ok := a.Others[sum]; ok {
		return fmt.Errorf("it is the artifact for %s, not for this platform: the index or its server has mixed them up", platform)
	}
	return fmt.Errorf("its SHA-256 is %s, not %s: it is not the artifact that the index describes", sum, a.SHA256)
}

// CheckReplace refuses the name of one of the suite's own plugins, unless replacing it
// was asked for now or at an earlier installation.
func (s Store) CheckReplace(name string, asked bool) error {
	if !slices.Contains(suite.Plugins(), name) || asked {
		return nil
	}
	if current, err := s.Installed(name); err == nil && artifact.Replaces(current.Folder) {
		return nil
	}
	return protocol.Invalid("harmony %s is part of harmony: a plugin with that name would replace it", name).
		WithHint("to replace it, use --replace-suite")
}
