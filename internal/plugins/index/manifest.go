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
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/Masterminds/semver/v3"

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

const (
	maxPlatforms = 64
	maxShort     = 100 // characters
)

// problems collects what is wrong with a document.
type problems struct{ found protocol.FieldErrors }

func (p *problems) add(field, format string, args ...any) {
	p.found = append(p.found, protocol.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)})
}

func (p *problems) err() error {
	if len(p.found) == 0 {
		return nil
	}
	return p.found
}

// Validate looks at every field and returns all problems at once, as
// [protocol.FieldErrors], or nil.
func (m Manifest) Validate() error {
	var p problems
	if !protocol.ValidName(m.Name) {
		p.add("metadata.name", "%q is not a plugin's name: lower-case letters, digits and dashes, at most 53", m.Name)
	}
	if !validVersion(m.Version) {
		p.add("metadata.version", "%q is not a semantic version such as 1.4.0 or 1.4.0-rc.1", m.Version)
	}
	switch short := strings.TrimSpace(m.ShortDescription); {
	case short == "":
		p.add("spec.shortDescription", "is required: one line that says what the plugin does")
	case strings.ContainsAny(short, "\n\r") || utf8.RuneCountInString(short) > maxShort:
		p.add("spec.shortDescription", "must be one line of at most %d characters", maxShort)
	}
	if m.Homepage != "" {
		if u, err := parseURI(m.Homepage); err != nil || u.Scheme != "https" || u.Host == "" {
			p.add("spec.homepage", "must be an https:// address")
		}
	}
	m.validateOffer(&p)
	m.validatePlatforms(&p)
	return p.err()
}

func (m Manifest) validateOffer(p *problems) {
	if m.Stage != "" && !protocol.ValidName(m.Stage) {
		p.add("spec.stage", "%q is not a stage's name", m.Stage)
	}
	if m.Stage != "" && len(m.Apps) > 0 {
		p.add("spec.apps", "a plugin offers a stage or apps, not both")
	}
	for i, app := range m.Apps {
		if !protocol.ValidName(app) {
			p.add(fmt.Sprintf("spec.apps[%d]", i), "%q is not an app's name", app)
		}
	}
	if m.Protocol.Min < 1 || m.Protocol.Max < m.Protocol.Min {
		p.add("spec.protocol", "must be a range such as {min: 1, max: 1}")
	}
}

func (m Manifest) validatePlatforms(p *problems) {
	switch {
	case len(m.Platforms) == 0:
		p.add("spec.platforms", "is required: one artifact for each platform")
	case len(m.Platforms) > maxPlatforms:
		p.add("spec.platforms", "has more than %d entries", maxPlatforms)
		return
	}
	seen := map[string]bool{}
	for i, platform := range m.Platforms {
		field := fmt.Sprintf("spec.platforms[%d]", i)
		platform.validate(p, field)
		key := platform.OS + "/" + platform.Arch
		if seen[key] {
			p.add(field, "there is an earlier artifact for %s", key)
		}
		seen[key] = true
	}
}

func (a Platform) validate(p *problems, field string) {
	word := regexp.MustCompile(`^[a-z0-9]{1,32}$`)
	if !word.MatchString(a.OS) {
		p.add(field+".os", "%q is no operating system, want linux or darwin", a.OS)
	}
	if !word.MatchString(a.Arch) {
		p.add(field+".arch", "%q is no processor, want amd64 or arm64", a.Arch)
	}
	if err := validURI(a.URI); err != nil {
		p.add(field+".uri", "%v", err)
	}
	a.Artifact.Validate(func(name, format string, args ...any) { p.add(field+"."+name, format, args...) })
	if a.Bin != "" && (!printable(a.Bin) || strings.Contains(a.Bin, `\`) || path.IsAbs(a.Bin) || path.Clean(a.Bin) != a.Bin || a.Bin == "." || strings.HasPrefix(a.Bin, "..")) {
		p.add(field+".bin", "%q must be a path within the archive, such as harmony-fleet or bin/fleet", a.Bin)
	}
}

// validURI is nil for the address of an artifact.
func validURI(s string) error {
	u, err := parseURI(s)
	if err != nil {
		return err
	}
	switch u.Scheme {
	case "https", "oci":
		if u.Host == "" {
			return fmt.Errorf("names no host")
		}
		return nil
	case "http":
		if auth.IsLoopback(u.Host) {
			return nil
		}
		return fmt.Errorf("http:// is only for this machine: use https://")
	case "file":
		if u.Host == "" && path.IsAbs(u.Path) && path.Clean(u.Path) == u.Path {
			return nil
		}
		return fmt.Errorf("must be file:/// and an absolute path")
	}
	return fmt.Errorf("must begin with https:// or oci://")
}

// parseURI reads an address that holds neither control characters nor
// credentials. Its errors never hold the address.
func parseURI(s string) (*url.URL, error) {
	if s == "" {
		return nil, fmt.Errorf("is required")
	}
	if !printable(s) || strings.ContainsAny(s, " \\") {
		return nil, fmt.Errorf("holds characters that an address cannot hold")
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("is not an address")
	}
	if u.User != nil {
		return nil, fmt.Errorf("must not hold credentials")
	}
	return u, nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) })
}

func validVersion(s string) bool {
	_, err := semver.StrictNewVersion(s)
	return err == nil && len(s) <= 128
}
