// Package index reads plugin indexes: where plugins can be downloaded, with which
// hashes. It downloads no plugin and runs none.
//
// An index is a set of manifests, one file per plugin, in a git repository, an OCI
// artifact, an https tree or a folder. Its content is not trusted: the number and
// size of files are limited, file names have one form, control characters are
// removed from texts, every manifest of an index with a key must be signed, and no
// index can offer an older version than before.
package index

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Kind is the kind of a manifest.
const Kind protocol.Kind = "Plugin"

// maxManifest is the size of the largest manifest, in bytes.
const maxManifest = 64 << 10

// Manifest describes one version of a plugin and where to download it. Metadata has
// the plugin's name, without the harmony- prefix, and the version.
type Manifest struct {
	protocol.Metadata `json:"-"`
	// Homepage is the https address of the plugin's documentation.
	Homepage string `json:"homepage,omitempty"`
	// ShortDescription is one line for lists, of at most 100 characters.
	ShortDescription string `json:"shortDescription"`
	// Description describes the plugin, in any number of lines.
	Description string `json:"description,omitempty"`
	// Platforms are the artifacts, one for each operating system and processor.
	Platforms []Platform `json:"platforms"`
	// Stage is the stage that the plugin carries out: build, publish, deploy, smoke
	// or another; empty for other plugins.
	Stage string `json:"stage,omitempty"`
	// Apps names the apps that an app plugin offers.
	Apps []string `json:"apps,omitempty"`
	// Protocol is the range of protocol versions that the plugin speaks.
	Protocol protocol.ProtocolRange `json:"protocol"`
	// Caveats is shown after an installation: steps that are left to the user.
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
// Control characters are removed from the texts.
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

// Platform is the artifact for an operating system and processor. If there is none,
// the error is of status protocol.ExitUnsupported and lists the supported platforms.
func (m Manifest) Platform(os, arch string) (Platform, error) {
	var known []string
	for _, p := range m.Platforms {
		if p.OS == os && p.Arch == arch {
			return p, nil
		}
		known = append(known, p.OS+"/"+p.Arch)
	}
	return Platform{}, protocol.Unsupported("plugin %s %s does not support %s/%s, only %s", m.Name, m.Version, os, arch, strings.Join(known, ", "))
}

func (m Manifest) String() string { return fmt.Sprintf("%s %s", m.Name, m.Version) }

const (
	maxPlatforms = 64
	maxShort     = 100 // characters
)

// Validate returns all problems at once, as [protocol.FieldErrors], or nil.
func (m Manifest) Validate() error {
	var p artifact.Problems
	if !protocol.ValidName(m.Name) {
		p.Add("metadata.name", "%q is not a plugin's name: lower-case letters, digits and dashes, at most 53", m.Name)
	}
	if !artifact.ValidVersion(m.Version) {
		p.Add("metadata.version", "%q is not a semantic version such as 1.4.0 or 1.4.0-rc.1", m.Version)
	}
	switch short := strings.TrimSpace(m.ShortDescription); {
	case short == "":
		p.Add("spec.shortDescription", "is required: one line that says what the plugin does")
	case strings.ContainsAny(short, "\n\r") || utf8.RuneCountInString(short) > maxShort:
		p.Add("spec.shortDescription", "must be one line of at most %d characters", maxShort)
	}
	if m.Homepage != "" {
		if u, err := parseURI(m.Homepage); err != nil || u.Scheme != "https" || u.Host == "" {
			p.Add("spec.homepage", "must be an https:// address")
		}
	}
	m.validateOffer(&p)
	m.validatePlatforms(&p)
	return p.Err()
}

func (m Manifest) validateOffer(p *artifact.Problems) {
	if m.Stage != "" && !protocol.ValidName(m.Stage) {
		p.Add("spec.stage", "%q is not a stage's name", m.Stage)
	}
	if m.Stage != "" && len(m.Apps) > 0 {
		p.Add("spec.apps", "a plugin offers a stage or apps, not both")
	}
	for i, app := range m.Apps {
		if !protocol.ValidName(app) {
			p.Add(fmt.Sprintf("spec.apps[%d]", i), "%q is not an app's name", app)
		}
	}
	if m.Protocol.Min < 1 || m.Protocol.Max < m.Protocol.Min {
		p.Add("spec.protocol", "must be a range such as {min: 1, max: 1}")
	}
}

func (m Manifest) validatePlatforms(p *artifact.Problems) {
	switch {
	case len(m.Platforms) == 0:
		p.Add("spec.platforms", "is required: one artifact for each platform")
	case len(m.Platforms) > maxPlatforms:
		p.Add("spec.platforms", "has more than %d entries", maxPlatforms)
		return
	}
	seen := map[string]bool{}
	for i, platform := range m.Platforms {
		field := fmt.Sprintf("spec.platforms[%d]", i)
		platform.validate(p, field)
		key := platform.OS + "/" + platform.Arch
		if seen[key] {
			p.Add(field, "is a second artifact for %s", key)
		}
		seen[key] = true
	}
}

func (a Platform) validate(p *artifact.Problems, field string) {
	word := regexp.MustCompile(`^[a-z0-9]{1,32}$`)
	if !word.MatchString(a.OS) {
		p.Add(field+".os", "%q is not an operating system, want linux or darwin", a.OS)
	}
	if !word.MatchString(a.Arch) {
		p.Add(field+".arch", "%q is not a processor, want amd64 or arm64", a.Arch)
	}
	if err := validURI(a.URI); err != nil {
		p.Add(field+".uri", "%v", err)
	}
	a.Artifact.Validate(p, field)
	if a.Bin != "" && (!printable(a.Bin) || strings.Contains(a.Bin, `\`) || path.IsAbs(a.Bin) || path.Clean(a.Bin) != a.Bin || a.Bin == "." || strings.HasPrefix(a.Bin, "..")) {
		p.Add(field+".bin", "%q must be a path within the archive, such as harmony-fleet or bin/fleet", a.Bin)
	}
}

// validURI is nil for the address of an artifact.
func validURI(s string) error {
	u, err := parseURI(s)
	switch {
	case err != nil:
		return err
	case u.Scheme == "http" && !auth.IsLoopback(u.Host):
		return errors.New("http:// is only for this machine: use https://")
	case u.Scheme == "file" && !(u.Host == "" && path.IsAbs(u.Path) && path.Clean(u.Path) == u.Path):
		return errors.New("must be file:/// and an absolute path")
	case (u.Scheme == "https" || u.Scheme == "oci") && u.Host == "":
		return errors.New("has no host")
	case !slices.Contains([]string{"https", "oci", "http", "file"}, u.Scheme):
		return errors.New("must begin with https:// or oci://")
	}
	return nil
}

// parseURI reads an address without control characters and credentials. Its errors
// never contain the address.
func parseURI(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return nil, errors.New("is required")
	case !printable(s) || strings.ContainsAny(s, " \\"):
		return nil, errors.New("contains characters that are not allowed in an address")
	case err != nil:
		return nil, errors.New("is not an address")
	case u.User != nil:
		return nil, errors.New("must not contain credentials")
	}
	return u, nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) })
}
