package scan

import (
	"cmp"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/pkg/protocol"
)

// readCompose reads the services of a compose file that are built; the others are images
// of others.
func readCompose(found *Found, s *scanner, name string, data []byte) {
	for _, d := range documents(found, name, data) {
		for service, n := range fields(at(d, "services")) {
			if image, ok := readService(found, name, service, n); ok {
				image.addDockerfile(s)
				found.note(name, n.Line, "the service %s, which is built%s", service, describePorts(image.Workload.Ports))
				found.Images = append(found.Images, image)
			}
		}
	}
}

func readService(found *Found, name, service string, n *yaml.Node) (Image, bool) {
	build := at(n, "build")
	if build.Kind == 0 {
		found.note(name, n.Line, "the service %s has an image of others (%s); it is no app", service, text(n, "image"))
		return Image{}, false
	}
	image := Image{Name: service, File: name, Line: n.Line, origin: ofCompose}
	ok := image.builtFrom(found, name, buildOf{
		line: build.Line, context: cmp.Or(text(build, "context"), text(build), "."), file: text(build, "dockerfile"),
		target: text(build, "target"), args: at(build, "args"),
	})
	if at(build, "dockerfile_inline").Kind != 0 {
		found.unclear(name, build.Line, "the service %s has its Dockerfile in this file; write it into one of its own", service)
		return image, false
	}
	for _, port := range append(items(at(n, "ports")), items(at(n, "expose"))...) {
		image.addComposePort(found, name, service, port)
	}
	image.Workload.Command, image.Workload.Args = texts(at(n, "entrypoint")), texts(at(n, "command"))
	if at(n, "command").Kind == yaml.ScalarNode || at(n, "entrypoint").Kind == yaml.ScalarNode {
		image.Workload.Command, image.Workload.Args = nil, nil
		found.unclear(name, n.Line, "the command of %s is a shell's: write it as a list, and into chart.workload.command", service)
	}
	image.addEnvironment(found, name, service, at(n, "environment"))
	depends := at(n, "depends_on")
	image.DependsOn = texts(depends)
	for other := range fields(depends) {
		image.DependsOn = append(image.DependsOn, other)
	}
	for _, key := range []string{"volumes", "env_file", "secrets", "configs", "healthcheck"} {
		if value := at(n, key); value.Kind != 0 {
			found.unclear(name, value.Line, "%s of the service %s: see chart.workload", key, service)
		}
	}
	return image, ok
}

// buildOf is how a tool builds from a Dockerfile: the context is relative to the tool's
// file, the Dockerfile to the context.
type buildOf struct {
	line                  int
	context, file, target string
	args                  *yaml.Node
}

// builtFrom makes the image that of a Dockerfile.
func (i *Image) builtFrom(found *Found, name string, b buildOf) bool {
	context, ok := within(path.Dir(name), b.context)
	file, inside := within(context, cmp.Or(b.file, "Dockerfile"))
	if !ok || !inside || isTemplate(b.context+b.file+b.target) || strings.Contains(b.context, "://") {
		found.unclear(name, b.line, "the context %q or the Dockerfile %q of %s is not in this project", b.context, cmp.Or(b.file, "Dockerfile"), i.Name)
		return false
	}
	i.Folder = context
	i.Source.Dockerfile = &protocol.Dockerfile{Path: file, Target: b.target}
	if context != "." {
		i.Source.Dockerfile.Context = context
	}
	i.Source.Dockerfile.Args = pairs(found, name, i.Name, "build argument", b.args)
	return true
}

// pairs are variables with plain values: a mapping, or a list of NAME=VALUE. Secrets stay
// where they are.
func pairs(found *Found, name, of, what string, n *yaml.Node) map[string]string {
	all := map[string]*yaml.Node{}
	for key, value := range fields(n) {
		all[key] = value
	}
	for _, item := range items(n) {
		key, value, given := strings.Cut(text(item), "=")
		if !given {
			value = "${" + key + "}"
		}
		all[key] = &yaml.Node{Kind: yaml.ScalarNode, Value: value, Line: item.Line}
	}
	var values map[string]string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		value := all[key]
		switch {
		case process.IsSecret(strings.ToUpper(key)):
			found.unclear(name, value.Line, "the %s %s of %s is a secret by its name, so its value was not taken", what, key, of)
		case isTemplate(value.Value) || value.Kind != yaml.ScalarNode || value.ShortTag() == "!!null":
			found.unclear(name, value.Line, "the %s %s of %s has no plain value", what, key, of)
		case regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(key):
			if values == nil {
				values = map[string]string{}
			}
			values[key] = value.Value
		}
	}
	return values
}

func (i *Image) addEnvironment(found *Found, name, service string, n *yaml.Node) {
	i.Workload.Env = pairs(found, name, service, "variable", n)
}

// addComposePort adds the container's side of a port: of 8080, 80:8080,
// 127.0.0.1:80:8080/tcp, or of a mapping with target.
func (i *Image) addComposePort(found *Found, name, service string, n *yaml.Node) {
	port, protocolName, _ := strings.Cut(cmp.Or(text(n), text(n, "target")), "/")
	if at(n, "protocol").Kind != 0 {
		protocolName = text(n, "protocol")
	}
	number, err := strconv.Atoi(port[strings.LastIndex(port, ":")+1:])
	if err != nil || number < 1 || number > 65535 || len(i.Workload.Ports) > 20 {
		found.unclear(name, n.Line, "the port %q of %s", cmp.Or(text(n), text(n, "target")), service)
		return
	}
	i.Workload.Ports = addPort(i.Workload.Ports, number, protocolName)
}

// addDockerfile takes from the image's Dockerfile what the tool's own file does not say.
func (i *Image) addDockerfile(s *scanner) {
	d := i.Source.Dockerfile
	if d == nil || !s.exists(d.Path) {
		return
	}
	data, ok := s.read(d.Path)
	if !ok {
		return
	}
	stage := parseDockerfile(d.Path, data).stage(d.Target)
	if len(i.Workload.Ports) > 0 {
		stage.ports, stage.open = i.Workload.Ports, nil
	}
	i.runsAs(d.Path, stage)
}
