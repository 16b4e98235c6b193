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

// crossCheck notes the problems between documents: names that are used twice, missing
// dependencies, and cycles.
func crossCheck(documents []document, p *problems) {
	taken := map[string]document{} // by kind and name
	var apps []protocol.AppSpec
	var names []string
	for _, d := range documents {
		d.claim(taken, p)
		if app, ok := d.spec.(*protocol.AppSpec); ok {
			apps = append(apps, *app)
			if !slices.Contains(names, app.Name) && app.Name != "" {
				names = append(names, app.Name)
			}
		}
	}
	for _, d := range documents {
		if app, ok := d.spec.(*protocol.AppSpec); ok {
			d.checkDependencies(app, names, p)
		}
	}
	checkCycle(apps, taken, p)
	for _, d := range documents {
		if pipeline, ok := d.spec.(*protocol.Pipeline); ok {
			d.checkMigrated(pipeline, apps, p)
		}
	}
}

// checkMigrated notes the deploys of a pipeline that leave out the migrations of an app.
func (d document) checkMigrated(pipeline *protocol.Pipeline, apps []protocol.AppSpec, p *problems) {
	i := slices.IndexFunc(apps, func(app protocol.AppSpec) bool { return len(app.Migrations) > 0 })
	if i < 0 {
		return
	}
	for _, step := range pipeline.Unmigrated() {
		field := fmt.Sprintf("spec.pipeline[%d]", step)
		p.add(d.line(field), field, "app %q has migrations, and no step before this deploy runs them: add {migrate: %s}", apps[i].Name, pipeline.Pipeline[step].Target)
	}
}

// claim takes the document's name, unless an earlier document of its kind has it.
func (d document) claim(taken map[string]document, p *problems) {
	if d.spec == nil || d.spec.Identity().Name == "" {
		return
	}
	name, what := d.spec.Identity().Name, strings.TrimSuffix(strings.ToLower(string(d.spec.DocumentKind())), "spec")
	first, ok := taken[what+" "+name]
	if !ok {
		taken[what+" "+name] = d
		return
	}
	where := ""
	if line := first.line("metadata.name"); line > 0 {
		where = fmt.Sprintf(" in line %d", line)
	}
	p.add(d.line("metadata.name"), "metadata.name", "%q is already the name of the %s%s", name, what, where)
}

func (d document) checkDependencies(app *protocol.AppSpec, names []string, p *problems) {
	for i, name := range app.DependsOn {
		if slices.Contains(names, name) || !protocol.ValidName(name) || name == app.Name {
			continue
		}
		field := fmt.Sprintf("spec.dependsOn[%d]", i)
		p.add(d.line(field), field, "no app %q here, %s", name, guess(name, names))
	}
}

// guess asks whether the nearest of the names was meant, or lists all of them.
func guess(name string, names []string) string {
	if len(names) == 0 {
		return "there are none"
	}
	return nearest.Hint(name, names, "known: "+strings.Join(names, ", "))
}

// checkCycle notes the first cycle, at the dependency that closes it.
func checkCycle(apps []protocol.AppSpec, taken map[string]document, p *problems) {
	_, err := capability.Order(apps)
	var cycle *capability.CycleError
	if !errors.As(err, &cycle) || len(cycle.Apps) == 2 { // an app's own validation finds a dependency on itself
		return
	}
	d := taken["app "+cycle.Apps[0]]
	app, ok := d.spec.(*protocol.AppSpec)
	if !ok {
		return
	}
	field := fmt.Sprintf("spec.dependsOn[%d]", slices.Index(app.DependsOn, cycle.Apps[1]))
	p.add(d.line(field), "spec.dependsOn", "%v", cycle)
}

// Given is a project whose documents come from another source than a harmony.yaml; from
// is its absolute path, such as that of an app plugin. Each document must be valid;
// problems between them, such as a cycle of dependencies, are errors of status
// protocol.ExitInvalid.
func Given(name, from string, apps []protocol.AppSpec, topologies []protocol.Topology, pipelines []protocol.Pipeline) (*Project, error) {
	project := &Project{
		File: from, Root: filepath.Dir(from), Name: Label(name),
		Apps: apps, Topologies: topologies, Pipelines: pipelines,
	}
	var documents []document
	for i := range apps {
		documents = append(documents, document{spec: &apps[i]})
	}
	for i := range topologies {
		documents = append(documents, document{spec: &topologies[i]})
	}
	for i := range pipelines {
		documents = append(documents, document{spec: &pipelines[i]})
	}
	found := &problems{file: displayName(from)}
	crossCheck(documents, found)
	if len(found.found) > 0 {
		return nil, protocol.Invalid("%w", found)
	}
	return project, nil
}
