package protocol

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/Masterminds/semver/v3"
)

var (
	platformPattern = newPattern(`^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$`)
	valuePattern    = newPattern(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
)

// Validate checks every field and returns all problems at once, as
// [FieldErrors], or nil. It does not read the file system.
func (a AppSpec) Validate() error {
	var p problems
	p.must(ValidName(a.Name), "metadata.name", "%q is not an app's name: lower-case letters, digits and dashes, at most 53, a letter or digit at both ends", a.Name)
	if a.Version != "" {
		_, err := semver.StrictNewVersion(a.Version)
		p.must(err == nil, "metadata.version", "%q is not a semantic version such as 1.4.0 or 1.4.0-rc.1", a.Version)
	}
	switch {
	case a.withoutImage():
	case a.Chart.URL != "":
		p.add("spec.image", "is not used by a chart of others, which chart.url names: leave it out, or put the chart into the project and name its folder in chart.path")
	default:
		a.Image.validate(&p, "spec.image")
	}
	a.Chart.validate(&p, "spec.chart")
	a.validateImages(&p)
	for name, target := range a.Targets {
		field := "spec.targets." + name
		p.name(field, "a target's", name)
		for i, file := range target.ValuesFiles {
			p.local(fmt.Sprintf("%s.valuesFiles[%d]", field, i), file)
		}
	}
	a.validateMigrations(&p, "spec.migrations")
	validateChecks(&p, "spec.smoke", a)
	if a.Monitoring != nil {
		a.Monitoring.validate(&p, "spec.monitoring")
	}
	for i, name := range a.DependsOn {
		field := fmt.Sprintf("spec.dependsOn[%d]", i)
		switch {
		case !ValidName(name):
			p.add(field, "%q is not an app's name", name)
		case name == a.Name:
			p.add(field, "an app cannot depend on itself")
		default:
			p.once(field, a.DependsOn, i)
		}
	}
	return p.err()
}

// withoutImage reports an app that says nothing of an image, and whose chart can do
// without one.
func (a AppSpec) withoutImage() bool {
	return reflect.ValueOf(a.Image).IsZero() && len(a.Images) == 0 && (a.Chart.URL != "" || a.Chart.Path != "" && a.Chart.Image.IsZero())
}

func (s ImageSource) validate(p *problems, field string) {
	p.must(s.Repository == "" || repositoryPattern.MatchString(s.Repository), field+".repository", "%q is not a repository path such as fleet/operator", s.Repository)
	s.validateSource(p, field)
	if d := s.Dockerfile; d != nil {
		p.local(field+".dockerfile.path", d.Path)
		p.local(field+".dockerfile.context", d.Context)
		d.validateReferences(p, field+".dockerfile")
	}
	if b := s.Buildable; b != nil {
		b.validate(p, field+".buildable")
	}
	for i, platform := range s.Platforms {
		at := fmt.Sprintf("%s.platforms[%d]", field, i)
		p.must(platformPattern.MatchString(platform), at, "%q is not os/arch, for example linux/amd64", platform)
		p.once(at, s.Platforms, i)
	}
}

func (s ImageSource) validateSource(p *problems, field string) {
	var sources []string
	if s.Dockerfile != nil {
		sources = append(sources, "dockerfile")
	}
	if s.Buildable != nil {
		sources = append(sources, "buildable")
	}
	if s.Ref != "" {
		sources = append(sources, "ref")
		_, err := s.Existing()
		p.must(err == nil, field+".ref", "%v; want for example ghcr.io/org/app:1.2", err)
	}
	p.must(len(sources) > 0, field, "needs dockerfile, buildable or ref")
	p.must(len(sources) < 2, field, "has %s; keep one", strings.Join(sources, " and "))
	p.must(s.Mirror == nil || s.Ref != "", field+".mirror", "is for ref only: an image that is built is always published")
	p.must(s.Repository == "" || !s.Stays(), field+".repository", "is where the image is copied to, and mirror: false copies nothing; remove one")
}

// validateReferences checks what the build takes by reference.
func (d Dockerfile) validateReferences(p *problems, field string) {
	for what, references := range map[string]map[string]string{"secrets": d.Secrets, "ssh": d.SSH} {
		for id, reference := range references {
			_, err := ParseReference(reference)
			p.must(err == nil, field+"."+what+"."+id, "%v; the value itself does not belong here", err)
		}
	}
	for name, context := range d.Contexts {
		at := field + ".contexts." + name
		kind, _, isReference := strings.Cut(context, ":")
		switch {
		case context == "":
			p.add(at, "is empty; want a folder or docker-image://NAME")
		case !isReference:
			p.local(at, context)
		case kind != "docker-image":
			p.add(at, "%q is not a folder or docker-image://NAME", context)
		}
	}
}

func (s ChartSource) validate(p *problems, field string) {
	var sources []string
	if s.Builder != nil {
		sources = append(sources, "builder")
		p.plugin(field+".builder.plugin", s.Builder.Plugin)
	}
	if s.Path != "" {
		sources = append(sources, "path")
		p.local(field+".path", s.Path)
	}
	if s.URL != "" {
		sources = append(sources, "url")
	}
	s.validatePublished(p, field)
	if s.Workload != nil {
		sources = append(sources, "workload")
		s.Workload.validate(p, field+".workload")
	}
	p.must(len(sources) > 0, field+".path", "is required: the chart's folder; or url, builder or workload instead")
	p.must(len(sources) < 2, field, "has %s; keep one", strings.Join(sources, " and "))
	if s.URL != "" && !s.Image.IsZero() {
		p.add(field+".image", "is for path only: an app with chart.url has no image of its own")
		return
	}
	s.Image.validate(p, field+".image", s.Path == "" && (s.Builder != nil || s.Workload != nil))
}

func (image ChartImage) validate(p *problems, at string) {
	switch {
	case image.Value != "" && image != (ChartImage{Value: image.Value}):
		p.add(at, "has value and other fields: value takes the whole reference, so it must be the only one")
	case image.Value == "" && (image.Repository == "" || image.Tag == "" && image.Digest == ""):
		p.add(at, "needs value, or repository with tag or digest; leave it out to have the place found")
	}
	for name, path := range map[string]string{
		"value": image.Value, "registry": image.Registry, "repository": image.Repository, "tag": image.Tag, "digest": image.Digest,
	} {
		p.must(path == "" || valuePattern.MatchString(path), at+"."+name, "%q is not a dotted path into the chart's values, for example image.digest", path)
	}
}
