package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// crossCheck notes what no document can tell alone: names that are taken,
// dependencies on apps that do not exist, and cycles of them.
func crossCheck(documents []document, p *problems) {
	apps := map[string]document{}
	topologies := map[string]document{}
	pipelines := map[string]document{}
	var names []string
	for _, d := range documents {
		switch {
		case d.name == "":
		case d.app != nil:
			if d.claim(apps, "app", p) {
				names = append(names, d.name)
			}
		case d.topology != nil:
			d.claim(topologies, "topology", p)
		case d.pipeline != nil:
			d.claim(pipelines, "pipeline", p)
		}
	}
	for _, d := range documents {
		if d.app != nil {
			d.checkDependencies(names, p)
		}
	}
	checkCycle(documents, apps, p)
}

// claim takes the document's name, unless an earlier one has it.
func (d document) claim(taken map[string]document, what string, p *problems) bool {
	if first, ok := taken[d.name]; ok {
		where := ""
		if line := first.line("metadata.name"); line > 0 {
			where = fmt.Sprintf(", in line %d", line)
		}
		p.add(d.line("metadata.name"), "metadata.name", "%q is the name of an earlier %s as well%s", d.name, what, where)
		return false
	}
	taken[d.name] = d
	return true
}

func (d document) checkDependencies(names []string, p *problems) {
	for i, name := range d.app.DependsOn {
		if slices.Contains(names, name) || !protocol.ValidName(name) || name == d.name {
			continue
		}
		field := fmt.Sprintf("spec.dependsOn[%d]", i)
		p.add(d.line(field), field, "no app %q here, %s", name, guess(name, names))
	}
}

// guess is the nearest of the names as a question, or a list of all of them.
func guess(name string, names []string) string {
	if near := nearest.Name(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	if len(names) == 0 {
		return "there is none"
	}
	return "known are " + strings.Join(names, ", ")
}

// checkCycle notes the first cycle, at the dependency that opens it.
func checkCycle(documents []document, byName map[string]document, p *problems) {
	var apps []protocol.AppSpec
	for _, d := range documents {
		if d.app != nil {
			apps = append(apps, *d.app)
		}
	}
	_, err := capability.Order(apps)
	var cycle *capability.CycleError
	if !errors.As(err, &cycle) || len(cycle.Apps) == 2 { // an app's own validation tells of itself
		return
	}
	d, ok := byName[cycle.Apps[0]]
	if !ok {
		return
	}
	field := fmt.Sprintf("spec.dependsOn[%d]", slices.Index(d.app.DependsOn, cycle.Apps[1]))
	p.add(d.line(field), "spec.dependsOn", "%v", cycle)
}

// Given is a project whose documents come from somewhere else than a
// harmony.yaml: from is an absolute path, such as that of an app plugin. Each
// document is valid on its own; what they do not tell alone, such as a cycle of
// dependencies, is an error of status protocol.ExitInvalid.
func Given(name, from string, apps []protocol.AppSpec, topologies []protocol.Topology, pipelines []protocol.Pipeline) (*Project, error) {
	project := &Project{
		File: from, Root: filepath.Dir(from), Name: label(name),
		Apps: apps, Topologies: topologies, Pipelines: pipelines,
	}
	var documents []document
	for i := range apps {
		documents = append(documents, document{name: apps[i].Name, app: &apps[i]})
	}
	for i := range topologies {
		documents = append(documents, document{name: topologies[i].Name, topology: &topologies[i]})
	}
	for i := range pipelines {
		documents = append(documents, document{name: pipelines[i].Name, pipeline: &pipelines[i]})
	}
	found := &problems{file: displayName(from)}
	crossCheck(documents, found)
	if len(found.found) > 0 {
		return nil, protocol.Invalid("%w", found)
	}
	return project, nil
}
