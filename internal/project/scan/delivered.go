package scan

import (
	"bytes"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readHelmfile reads the releases of a helmfile.
func readHelmfile(found *Found, s *scanner, name string, data []byte) {
	for _, d := range documents(found, name, data) {
		for _, n := range items(at(d, "releases")) {
			found.deliver(s, Release{Tool: "helmfile", File: name, Line: n.Line, Name: text(n, "name")}, path.Dir(name), text(n, "chart"))
		}
		if n := at(d, "helmfiles"); n.Kind != 0 {
			found.unclear(name, n.Line, "helmfiles: other files; name them with --from")
		}
	}
}

// isManifest reports whether a file may have objects of Argo CD or Flux.
func isManifest(data []byte) bool {
	return bytes.Contains(data, []byte("argoproj.io/")) || bytes.Contains(data, []byte("helm.toolkit.fluxcd.io/"))
}

// isDelivered reports whether a document is such an object.
func isDelivered(d *yaml.Node) bool {
	group, _, _ := strings.Cut(text(d, "apiVersion"), "/")
	kind := text(d, "kind")
	return group == "argoproj.io" && (kind == "Application" || kind == "ApplicationSet") || group == "helm.toolkit.fluxcd.io" && kind == "HelmRelease"
}

// readManifests reads the Applications and HelmReleases of a file.
func readManifests(found *Found, s *scanner, name string, data []byte) {
	for _, d := range documents(found, name, data) {
		if !isDelivered(d) {
			continue
		}
		switch text(d, "kind") {
		case "Application":
			readApplication(found, s, name, d)
		case "ApplicationSet":
			found.unclear(name, d.Line, "the ApplicationSet %s is a template, which only Argo CD can fill in", text(d, "metadata", "name"))
		default:
			readHelmRelease(found, s, name, d)
		}
	}
}

func readApplication(found *Found, s *scanner, name string, d *yaml.Node) {
	spec := at(d, "spec")
	sources := append([]*yaml.Node{at(spec, "source")}, items(at(spec, "sources"))...)
	for _, source := range sources {
		chart := text(source, "chart")
		if source.Kind == 0 || chart == "" && text(source, "path") == "" {
			continue
		}
		release := Release{Tool: "Argo CD's Application", File: name, Line: d.Line, Name: text(source, "helm", "releaseName")}
		if release.Name == "" {
			release.Name = text(d, "metadata", "name")
		}
		if chart == "" { // a path is relative to the repository, not to this file
			found.deliver(s, release, ".", "./"+text(source, "path"))
			continue
		}
		found.deliver(s, release, ".", text(source, "repoURL")+"/"+chart)
	}
}

func readHelmRelease(found *Found, s *scanner, name string, d *yaml.Node) {
	spec := at(d, "spec")
	release := Release{Tool: "Flux's HelmRelease", File: name, Line: d.Line, Name: text(spec, "releaseName")}
	if release.Name == "" {
		release.Name = text(d, "metadata", "name")
	}
	chart := text(spec, "chart", "spec", "chart")
	if kind := text(spec, "chart", "spec", "sourceRef", "kind"); chart != "" && (kind == "GitRepository" || kind == "Bucket") {
		found.deliver(s, release, ".", "./"+chart)
		return
	}
	if chart == "" {
		chart = text(spec, "chartRef", "kind") + " " + text(spec, "chartRef", "name")
	}
	found.deliver(s, release, ".", chart)
}

// deliver notes a release of a chart in the project, or of others. A chart in the project
// is given as a path.
func (f *Found) deliver(s *scanner, release Release, folder, chart string) {
	switch local, ok := within(folder, chart); {
	case chart == "" || release.Name == "" || isTemplate(chart) || isTemplate(release.Name): // {{ x }} is a mapping to YAML
		f.unclear(release.File, release.Line, "a release without a plain name and chart: a template, which only its own tool can read")
	case !strings.HasPrefix(chart, "."):
		f.note(release.File, release.Line, "%s %s has a chart of others (%s)", release.Tool, release.Name, chart)
	case !ok:
		f.unclear(release.File, release.Line, "the chart %q of %s is not in this project", chart, release.Name)
	case !s.isAlone() && !s.exists(path.Join(local, "Chart.yaml")):
		f.note(release.File, release.Line, "%s %s: there is no chart in %s", release.Tool, release.Name, local)
	default:
		release.Chart = local
		f.note(release.File, release.Line, "%s %s of the chart %s", release.Tool, release.Name, local)
		f.Releases = append(f.Releases, release)
	}
}

// isAlone reports whether only one file is read.
func (s *scanner) isAlone() bool { return s.fsys == noFiles{} }
