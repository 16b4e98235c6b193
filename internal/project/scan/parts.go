package scan

import (
	"fmt"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Part is a chart of others that a chart with no templates of its own consists of.
type Part struct {
	// Name is what the values call it.
	Name string
	// File and Line are where it was found.
	File   string
	Line   int
	Chart  protocol.ChartSource
	Values map[string]any
}

// targets are those that a release goes to without another topology.
var targets = []string{"staging", "production"}

// addParts adds the charts that a chart consists of. values is its values.yaml.
func (f *Found) addParts(file string, chart, values *yaml.Node) {
	for _, dependency := range items(at(chart, "dependencies")) {
		name := text(dependency, "name")
		part := Part{Name: name, File: file, Line: dependency.Line, Chart: partOf(dependency)}
		if alias := text(dependency, "alias"); alias != "" {
			part.Name = alias
		}
		if field, problem := part.Chart.ValidPublished(); problem != "" {
			f.unclear(file, dependency.Line, "the chart %s becomes no app: its %s %s", name, field, problem)
			continue
		}
		if values != nil {
			if err := at(values, part.Name).Decode(&part.Values); err != nil {
				f.unclear(file, dependency.Line, "the values of %s are left out: %v", part.Name, err)
			}
		}
		f.Parts = append(f.Parts, part)
	}
}

// partOf is where a dependency of a Chart.yaml is published.
func partOf(dependency *yaml.Node) protocol.ChartSource {
	name, repository := text(dependency, "name"), strings.TrimSuffix(text(dependency, "repository"), "/")
	source := protocol.ChartSource{URL: repository, Name: name, Version: text(dependency, "version")}
	if strings.HasPrefix(repository, "oci://") {
		source.URL, source.Name = repository+"/"+name, ""
	}
	return source
}

// partApp is the app of a chart of others.
func partApp(part Part, taken map[string]bool) App {
	app := App{Notes: []string{fmt.Sprintf("a chart of others, from %s", Note{File: part.File, Line: part.Line}.place())}}
	app.Spec.Name = unique(part.Name, taken)
	app.Spec.Chart = part.Chart
	if len(part.Values) > 0 {
		app.Notes = append(app.Notes, "its values are those of "+path.Join(path.Dir(part.File), "values.yaml"))
		app.Spec.Targets = map[string]protocol.TargetValues{}
		for _, target := range targets {
			app.Spec.Targets[target] = protocol.TargetValues{Values: part.Values}
		}
	}
	app.Spec.Smoke = []protocol.SmokeCheck{{Name: "ready", Rollout: &protocol.RolloutCheck{}}}
	return app
}
