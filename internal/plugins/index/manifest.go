// Package index reads indexes of plugins: where they can be had from, with
// which hashes. It holds no code of a plugin and runs none.
//
// An index is a set of manifests, one file a plugin, that lies in a git
// repository, an OCI artifact, an https tree or a folder. What an index says is
// not trusted: its files are limited in number and size, their names have one
// form, its texts lose their control characters, an index with a key has every
// manifest signed, and none can offer an older version than it did before.
package index

import (
	"fmt"
	"strings"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Kind is the kind of a manifest.
const Kind protocol.Kind = "Plugin"

// maxManifest is the size of the largest manifest, in bytes.
const maxManifest = 64 << 10

// Manifest says what a plugin is and where one version of it can be had. Metadata
// holds the plugin's name, without the harmony- prefix, and the version.
type Manifest struct {
	protocol.Metadata `json:"-"`
	// Homepage is the https address at which people read about the plugin.
	Homepage string `json:"homepage,omitempty"`
	// ShortDescription is one line for lists, of at most 100 characters.
	ShortDescription string `json:"shortDescription"`
	// Description tells what the plugin does, in as many lines as that takes.
	Description string `json:"description,omitempty"`
	// Platforms are the artifacts, one for each operating system and processor.
	Platforms []Platform `json:"platforms"`
	// Stage is the stage that the plugin carries out: build, publish, deploy,
	// smoke or one of its own; empty for a plugin that is none.
	Stage string `json:"stage,omitempty"`
	// Apps names the apps that an app plugin offers.
	Apps []string `json:"apps,omitempty"`
	// Protocol is the range of protocol versions that the plugin speaks.
	Protocol protocol.ProtocolRange `json:"protocol"`
	// Caveats is shown after an installation: what is left for a person to do.
	Caveats string `json:"caveats,omitempty"`
}

// Platform is the artifact for one operating system and processor.
type Platform struct {
	// OS and Arch are named as Go names them: linux or darwin, amd64 or arm64.
	OS   string `json:"os"`
	Arch string `json:"arch"`
	artifact.Artifact
}

// DocumentKind implements [protocol.Spec].
func (Manifest) DocumentKind() protocol.Kind { return Kind }

// Parse reads a manifest strictly. name is the file's name for messages. The
// error lists every problem with its line and is of status protocol.ExitInvalid.
// Control characters are taken out of the texts.
func Parse(name string, data []byte) (Manifest, error) {
	if len(data) > maxManifest {
		return Manifest{}, protocol.Invalid("%s: is larger than %d bytes", name, maxManifest)
	}
	m, err := config.ParseOne[Manifest](name, data)
	if err != nil {
		return Manifest{}, err
	}
	for _, text := range []*string{&m.ShortDescription, &m.Description, &m.Caveats, &m.Homepage} {
		*text = strings.TrimSpace(term.Clean(*text))
	}
	return m, nil
}

// Platform is the artifact for an operating system and processor. When there is
// none the error is of status protocol.ExitUnsupported and names those that
// there are.
func (m Manifest) Platform(os, arch string) (Platform, error) {
	var known []string
	for _, p := range m.Platforms {
		if p.OS == os && p.Arch == arch {
			return p, nil
		}
		known = append(known, p.OS+"/"+p.Arch)
	}
	return Platform{}, protocol.Unsupported("plugin %s %s has nothing for %s/%s, only for %s", m.Name, m.Version, os, arch, strings.Join(known, ", "))
}

func (m Manifest) String() string { return fmt.Sprintf("%s %s", m.Name, m.Version) }
