package protocol

import (
	"maps"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// LockedChart is what harmony.lock has of a published chart.
type LockedChart struct {
	// Digest is that of the chart's archive: sha256:…
	Digest string `json:"digest"`
	// Archive is the address of the archive, where the chart is of an https repository.
	Archive string `json:"archive,omitempty"`
	// Signer is the fingerprint of the key that signed the provenance file, in
	// hexadecimal, where the chart has a keyring.
	Signer string `json:"signer,omitempty"`
	// Images are the digests of the chart's images, sha256:…, by their references as the
	// chart has them, where the images are pinned.
	Images map[string]string `json:"images,omitempty"`
}

var (
	chartNamePattern = newPattern(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
	signerPattern    = newPattern(`^[0-9a-f]{40}([0-9a-f]{24})?$`)
)

// PublishedName is the name of the chart at URL.
func (s ChartSource) PublishedName() string {
	if strings.HasPrefix(s.URL, "oci://") {
		return path.Base(s.URL)
	}
	return s.Name
}

// ValidPublished checks the address, name and version of a chart at URL, and returns
// the field that is wrong and what is wrong with it; both are empty when all is
// well.
func (s ChartSource) ValidPublished() (field, problem string) {
	isOCI := strings.HasPrefix(s.URL, "oci://")
	if problem := chartURL(s.URL); problem != "" {
		return "url", problem
	}
	switch {
	case isOCI && s.Name != "":
		return "name", "is for an https repository; the name of an oci chart is the end of its url"
	case !isOCI && s.Name == "":
		return "name", "is required: the chart's name in the repository " + s.URL
	case !chartNamePattern.MatchString(s.PublishedName()):
		return "name", "\"" + s.PublishedName() + "\" is not a chart's name"
	case s.Version == "":
		return "version", "is required: the chart's version, such as 4.11.3"
	}
	if _, err := semver.NewVersion(s.Version); err != nil {
		return "version", "\"" + s.Version + "\" is not one version such as 4.11.3"
	}
	return "", ""
}

// chartURL says what is wrong with the address of a chart, or "".
func chartURL(text string) string {
	u, err := url.Parse(text)
	quoted := "\"" + text + "\""
	if err == nil && u.User != nil {
		return "has a user in it: credentials do not belong here; log in with docker login"
	}
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return quoted + " is not an address such as oci://registry.example.com/charts/redis or https://charts.example.com"
	}
	switch {
	case u.Scheme == "oci":
		if _, err := ParseImageRef(strings.TrimPrefix(text, "oci://") + ":0"); err != nil || strings.Trim(u.Path, "/") == "" || strings.HasSuffix(u.Path, "/") {
			return quoted + " is not oci://registry/path/chart, without a version"
		}
	case u.Scheme == "http" && isLoopback(u.Hostname()):
	case u.Scheme == "http":
		return quoted + ": plain http is for a server on this machine only"
	case u.Scheme != "https":
		return quoted + " is neither oci:// nor https://"
	}
	return ""
}

func isLoopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// validatePublished checks the fields of a chart at URL.
func (s ChartSource) validatePublished(p *problems, field string) {
	if s.URL == "" {
		const only = "is for a chart at url only"
		p.must(s.Name == "", field+".name", only)
		p.must(s.Version == "", field+".version", "is for a chart at url only: the version of the release goes into other charts")
		p.must(s.Keyring == "", field+".keyring", only)
		p.must(!s.PinImages, field+".pinImages", only)
		p.must(s.Locked == nil, field+".locked", only)
		return
	}
	if name, problem := s.ValidPublished(); problem != "" {
		p.add(field+"."+name, "%s", problem)
	}
	p.local(field+".keyring", s.Keyring)
	if s.Locked != nil {
		if name, problem := s.Locked.Valid(); problem != "" {
			p.add(field+".locked."+name, "%s", problem)
		}
	}
}

// Valid returns the field that is wrong and what is wrong with it; both are empty
// when all is well.
func (l LockedChart) Valid() (field, problem string) {
	switch {
	case !digestPattern.MatchString(l.Digest):
		return "digest", "\"" + l.Digest + "\" is not sha256: and 64 lower-case hex digits"
	case l.Archive != "" && (strings.HasPrefix(l.Archive, "oci:") || archiveURL(l.Archive) != ""):
		return "archive", "\"" + l.Archive + "\" is not the https address of an archive"
	case l.Signer != "" && !signerPattern.MatchString(l.Signer):
		return "signer", "\"" + l.Signer + "\" is not the fingerprint of a key"
	}
	for _, image := range slices.Sorted(maps.Keys(l.Images)) {
		if ref, err := ParseImageRef(image); err != nil || ref.Digest != "" {
			return "images", "\"" + image + "\" is not an image reference without a digest"
		}
		if !digestPattern.MatchString(l.Images[image]) {
			return "images", "\"" + l.Images[image] + "\" is not sha256: and 64 lower-case hex digits"
		}
	}
	return "", ""
}

// archiveURL says what is wrong with the address of an archive, which may have a
// query, or "".
func archiveURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "is not an address"
	}
	u.RawQuery = ""
	return chartURL(u.String())
}
