package protocol

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// FieldError is one problem of a document, at a field.
type FieldError struct {
	// Field is the path from the document's root: spec.smoke[1].http.port.
	Field string
	// Problem says what is wrong and what would be right.
	Problem string
}

// Error implements error.
func (e FieldError) Error() string { return e.Field + ": " + e.Problem }

// FieldErrors are all the problems of a document.
type FieldErrors []FieldError

// Error implements error: a line for each problem.
func (e FieldErrors) Error() string {
	lines := make([]string, len(e))
	for i, f := range e {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// problems collects field errors.
type problems struct{ found FieldErrors }

func (p *problems) add(field, format string, args ...any) {
	p.found = append(p.found, FieldError{field, fmt.Sprintf(format, args...)})
}

// err is nil when nothing was found: a FieldErrors in an error would not be.
func (p *problems) err() error {
	if len(p.found) == 0 {
		return nil
	}
	return p.found
}

var (
	labelPattern      = newPattern(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	platformPattern   = newPattern(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$`)
	capabilityPattern = newPattern(`^[A-Z][A-Za-z0-9]{0,62}$`)
	valuePattern      = newPattern(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
)

// ValidName reports whether s can name an app or a target: a DNS label (RFC
// 1123) of at most 53 characters, the limit of a Helm release's name.
func ValidName(s string) bool { return len(s) <= 53 && labelPattern.MatchString(s) }

// Validate looks at every field and returns all problems at once, as
// [FieldErrors], or nil. It does not look at the file system.
func (a AppSpec) Validate() error {
	var p problems
	validateIdentity(&p, a.Metadata)
	a.Image.validate(&p, "spec.image")
	a.Chart.validate(&p, "spec.chart")
	for name, target := range a.Targets {
		field := "spec.targets." + name
		if !ValidName(name) {
			p.add(field, "%q is not a target's name: lower-case letters, digits and dashes, at most 53", name)
		}
		for i, file := range target.ValuesFiles {
			validatePath(&p, fmt.Sprintf("%s.valuesFiles[%d]", field, i), file)
		}
	}
	seen := map[string]bool{}
	for i, check := range a.Smoke {
		field := fmt.Sprintf("spec.smoke[%d]", i)
		if seen[check.Name] {
			p.add(field+".name", "%q is the name of an earlier check as well", check.Name)
		}
		seen[check.Name] = true
		check.validate(&p, field)
	}
	a.Monitoring.validate(&p, "spec.monitoring")
	for i, name := range a.DependsOn {
		field := fmt.Sprintf("spec.dependsOn[%d]", i)
		switch {
		case !ValidName(name):
			p.add(field, "%q is not an app's name", name)
		case name == a.Name:
			p.add(field, "an app cannot depend on itself")
		case slices.Contains(a.DependsOn[:i], name):
			p.add(field, "%q is named twice", name)
		}
	}
	slices.SortStableFunc(p.found, func(x, y FieldError) int { return strings.Compare(x.Field, y.Field) })
	return p.err()
}

func validateIdentity(p *problems, id Metadata) {
	if !ValidName(id.Name) {
		p.add("metadata.name", "%q is not an app's name: lower-case letters, digits and dashes, at most 53, a letter or digit at both ends", id.Name)
	}
	if id.Version == "" {
		return
	}
	if _, err := semver.StrictNewVersion(id.Version); err != nil {
		p.add("metadata.version", "%q is not a semantic version such as 1.4.0 or 1.4.0-rc.1", id.Version)
	}
}

func (s ImageSource) validate(p *problems, field string) {
	if s.Repository != "" && !repositoryPattern.MatchString(s.Repository) {
		p.add(field+".repository", "%q is not a repository path such as fleet/operator", s.Repository)
	}
	switch {
	case s.Dockerfile == nil && s.Buildable == nil:
		p.add(field, "needs dockerfile or buildable")
	case s.Dockerfile != nil && s.Buildable != nil:
		p.add(field, "has both dockerfile and buildable; remove one")
	}
	if d := s.Dockerfile; d != nil {
		validatePath(p, field+".dockerfile.path", d.Path)
		validatePath(p, field+".dockerfile.context", d.Context)
		d.validateReferences(p, field+".dockerfile")
	}
	if b := s.Buildable; b != nil {
		if b.Type == "" {
			p.add(field+".buildable.type", "is required, for example go")
		}
		validatePath(p, field+".buildable.main", b.Main)
		validatePath(p, field+".buildable.folder", b.Folder)
	}
	for i, platform := range s.Platforms {
		at := fmt.Sprintf("%s.platforms[%d]", field, i)
		if !platformPattern.MatchString(platform) {
			p.add(at, "%q is not os/arch, for example linux/amd64", platform)
		}
		if slices.Contains(s.Platforms[:i], platform) {
			p.add(at, "%q is named twice", platform)
		}
	}
}

func (s ChartSource) validate(p *problems, field string) {
	s.validateSource(p, field)
	validatePath(p, field+".path", s.Path)
	image, at := s.Image, field+".image"
	switch {
	case image == ChartImage{} && (s.Builder != nil || s.Workload != nil): // the chart says it
	case image == ChartImage{}:
		p.add(at, "is required: where the chart's values take the image, for example {value: image}")
	case image.Value != "" && image != (ChartImage{Value: image.Value}):
		p.add(at, "has value and other fields: value takes the whole reference, so it must be the only one")
	case image.Value == "" && (image.Repository == "" || image.Digest == ""):
		p.add(at, "needs value, or both repository and digest")
	}
	for name, path := range map[string]string{
		"value": image.Value, "registry": image.Registry, "repository": image.Repository, "tag": image.Tag, "digest": image.Digest,
	} {
		if path != "" && !valuePattern.MatchString(path) {
			p.add(at+"."+name, "%q is not a dotted path into the chart's values, for example image.digest", path)
		}
	}
}

// validatePath holds paths inside the project: relative and without a way up.
func validatePath(p *problems, field, path string) {
	if path == "" || filepath.IsLocal(path) {
		return
	}
	p.add(field, "%q leads out of the project: a path is relative and does not climb with ..", path)
}

func (c SmokeCheck) validate(p *problems, field string) {
	if c.Name == "" {
		p.add(field+".name", "is required")
	}
	kinds := 0
	if c.Rollout != nil {
		kinds++
	}
	if c.HTTP != nil {
		kinds++
		c.HTTP.validate(p, field+".http")
	}
	if c.TCP != nil {
		kinds++
		c.TCP.validate(p, field+".tcp")
	}
	if kinds != 1 {
		p.add(field, "needs exactly one of rollout, http and tcp")
	}
	if c.Timeout < 0 {
		p.add(field+".timeout", "is negative")
	}
	if c.Interval < 0 {
		p.add(field+".interval", "is negative")
	}
	if c.Successes < 0 {
		p.add(field+".successes", "is negative")
	}
}

func (c HTTPCheck) validate(p *problems, field string) {
	switch {
	case (c.Service == "") == (c.URL == ""):
		p.add(field, "needs exactly one of service and url")
	case c.URL != "":
		validateURL(p, field+".url", c.URL)
	case !labelPattern.MatchString(c.Service):
		p.add(field+".service", "%q is not a service's name", c.Service)
	}
	if c.Scheme != "" && c.Scheme != "http" && c.Scheme != "https" {
		p.add(field+".scheme", "%q is neither http nor https", c.Scheme)
	}
	if c.Path != "" && !strings.HasPrefix(c.Path, "/") {
		p.add(field+".path", "%q does not start with /", c.Path)
	}
	validatePort(p, field+".port", c.Port)
	if c.TLS != nil {
		if c.Service != "" {
			p.add(field+".tls", "is for a url: the API server's proxy does not verify a service's certificate")
		}
		validatePath(p, field+".tls.caFile", c.TLS.CAFile)
	}
	if s := c.Expect.Status; s != 0 && (s < 100 || s > 599) {
		p.add(field+".expect.status", "%d is not an HTTP status", s)
	}
	for i, expect := range c.Expect.JSON {
		if expect.Path == "" {
			p.add(fmt.Sprintf("%s.expect.json[%d].path", field, i), "is required, for example {.status}")
		}
	}
}

func (c TCPCheck) validate(p *problems, field string) {
	switch {
	case (c.Service == "") == (c.Address == ""):
		p.add(field, "needs exactly one of service and address")
	case c.Service != "" && !labelPattern.MatchString(c.Service):
		p.add(field+".service", "%q is not a service's name", c.Service)
	case c.Address != "" && !hostPort(c.Address):
		p.add(field+".address", "%q is not host:port", c.Address)
	case c.Address != "" && c.Port != 0:
		p.add(field+".port", "is for a service; an address has its own")
	}
	validatePort(p, field+".port", c.Port)
}

func hostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	return err == nil && number > 0
}

func validatePort(p *problems, field string, port int) {
	if port < 0 || port > 65535 {
		p.add(field, "%d is not a port", port)
	}
}
