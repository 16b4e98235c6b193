package scan

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony/pkg/protocol"
)

// readSkaffold reads the artifacts of skaffold.yaml, and the Helm releases that take
// them.
func readSkaffold(found *Found, s *scanner, name string, data []byte) {
	var artifacts []string
	list := documents(found, name, data)
	for _, d := range list {
		for _, artifact := range items(at(d, "build", "artifacts")) {
			image, ok := readArtifact(found, name, artifact)
			if !ok {
				continue
			}
			image.addDockerfile(s)
			artifacts = append(artifacts, text(artifact, "image"))
			found.note(name, artifact.Line, "the artifact %s%s", image.Name, describePorts(image.Workload.Ports))
			found.Images = append(found.Images, image)
		}
	}
	for _, d := range list {
		for _, releases := range []*yaml.Node{at(d, "deploy", "helm", "releases"), at(d, "manifests", "helm", "releases")} {
			for _, release := range items(releases) {
				readSkaffoldRelease(found, name, release, artifacts)
			}
		}
		for _, keys := range [][]string{
			{"manifests", "rawYaml"}, {"manifests", "kustomize"}, {"deploy", "kustomize"}, {"deploy", "kubectl", "manifests"}, {"profiles"}, {"requires"},
		} {
			if n := at(d, keys...); n.Kind != 0 {
				found.unclear(name, n.Line, "%s has no counterpart in harmony.yaml", strings.Join(keys, "."))
			}
		}
	}
}

func readArtifact(found *Found, name string, n *yaml.Node) (Image, bool) {
	reference := text(n, "image")
	image := Image{Name: imageName(reference), File: name, Line: n.Line, origin: ofSkaffold}
	context := cmp.Or(text(n, "context"), ".")
	for _, builder := range []string{"jib", "bazel", "buildpacks", "kaniko", "custom"} {
		if at(n, builder).Kind != 0 {
			found.unclear(name, n.Line, "the artifact %s is built by %s; write a Dockerfile, or use a buildable", reference, builder)
			return image, false
		}
	}
	if isTemplate(reference) || image.Name == "" {
		found.unclear(name, n.Line, "the artifact's image %q", reference)
		return image, false
	}
	ko := at(n, "ko")
	if ko.Kind == 0 {
		docker := at(n, "docker")
		return image, image.builtFrom(found, name, buildOf{
			line: n.Line, context: context, file: text(docker, "dockerfile"), target: text(docker, "target"), args: at(docker, "buildArgs"),
		})
	}
	folder, ok := within(path.Dir(name), path.Join(context, text(ko, "dir")))
	main, inside := within(folder, cmp.Or(text(ko, "main"), "."))
	if !ok || !inside {
		found.unclear(name, n.Line, "the main package of %s is not in this project", reference)
		return image, false
	}
	image.Folder, image.Source.Buildable = folder, &protocol.Buildable{Type: "go", LDFlags: plain(texts(at(ko, "ldflags")))}
	if main != "." {
		image.Source.Buildable.Main = "./" + main
	}
	return image, true
}

// plain are the texts that no tool fills in.
func plain(list []string) []string { return slices.DeleteFunc(list, isTemplate) }

func readSkaffoldRelease(found *Found, name string, n *yaml.Node, artifacts []string) {
	release := Release{Tool: "skaffold", File: name, Line: n.Line, Name: text(n, "name")}
	folder := text(n, "chartPath")
	chart, ok := within(path.Dir(name), folder)
	switch {
	case text(n, "remoteChart") != "":
		found.note(name, n.Line, "the release %s has a chart of others (%s)", release.Name, text(n, "remoteChart"))
		return
	case folder == "" || !ok || isTemplate(folder):
		found.unclear(name, n.Line, "the chart %q of the release %s is not in this project", folder, release.Name)
		return
	}
	release.Chart = chart
	for _, artifact := range artifacts {
		if setsImage(n, artifact) {
			release.Images = append(release.Images, imageName(artifact))
		}
	}
	found.note(name, n.Line, "the release %s of the chart %s", release.Name, chart)
	found.Releases = append(found.Releases, release)
}

// setsImage reports whether a release's values take the artifact.
func setsImage(release *yaml.Node, artifact string) bool {
	word := regexp.MustCompile(`[^A-Za-z0-9]`).ReplaceAllString(artifact, "_")
	in := regexp.MustCompile(`\bIMAGE_[A-Z_]*_` + regexp.QuoteMeta(word) + `\b`)
	for _, key := range []string{"setValueTemplates", "setValues", "artifactOverrides"} {
		if takes(at(release, key), 0, func(value string) bool { return value == artifact || in.MatchString(value) }) {
			return true
		}
	}
	return false
}

func takes(n *yaml.Node, depth int, want func(string) bool) bool {
	if depth > maxDepth {
		return false
	}
	if n.Kind == yaml.ScalarNode {
		return want(n.Value)
	}
	for _, value := range fields(n) {
		if takes(value, depth+1, want) {
			return true
		}
	}
	return false
}
