package config

import (
	"path"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Names lists the apps of the project in the order of the file.
func (p *Project) Names() []string {
	if p == nil {
		return nil
	}
	names := make([]string, len(p.Apps))
	for i, app := range p.Apps {
		names[i] = app.Name
	}
	return names
}

// Select returns the apps that the patterns name, each once and in the order of
// the file. A pattern is an app's name or a glob such as 'fleet-*'. Without a
// pattern the only app of the project is meant. What names no app is an error
// of status protocol.ExitInvalid.
func (p *Project) Select(patterns []string) ([]protocol.AppSpec, error) {
	names := p.Names()
	if len(patterns) == 0 && len(names) != 1 {
		return nil, p.ambiguous(names)
	}
	chosen := map[string]bool{}
	if len(patterns) == 0 {
		chosen[names[0]] = true
	}
	for _, pattern := range patterns {
		found, err := match(pattern, names)
		if err != nil {
			return nil, err
		}
		for _, name := range found {
			chosen[name] = true
		}
	}
	var apps []protocol.AppSpec
	for _, app := range p.Apps {
		if chosen[app.Name] {
			apps = append(apps, app)
		}
	}
	return apps, nil
}

func (p *Project) ambiguous(names []string) error {
	if len(names) == 0 {
		return protocol.Invalid("there is no app in %s", p.file())
	}
	return protocol.Invalid("which app? %s has %s", p.file(), strings.Join(names, ", ")).
		WithHint("name one or more, with globs if you like ('%s*'), or give --all", names[0][:1])
}

// file is what messages call the project's file.
func (p *Project) file() string {
	if p == nil || p.File == "" {
		return FileName
	}
	return displayName(p.File)
}

// match lists the names that a name or glob stands for, at least one.
func match(pattern string, names []string) ([]string, error) {
	if slices.Contains(names, pattern) {
		return []string{pattern}, nil
	}
	if !strings.ContainsAny(pattern, `*?[\`) {
		return nil, unknown("app", pattern, names)
	}
	var found []string
	for _, name := range names {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return nil, protocol.Invalid("%q is not a glob: %w", pattern, err)
		}
		if ok {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return nil, protocol.Invalid("no app matches %q", pattern).WithHint("the apps are %s", strings.Join(names, ", "))
	}
	return found, nil
}

// unknown is the error for a name that is not among the names.
func unknown(what, name string, names []string) *protocol.Error {
	message := protocol.Invalid("no %s %q", what, name)
	if near := nearest.Name(name, names); near != "" {
		message = protocol.Invalid("no %s %q, did you mean %s?", what, name, near)
	}
	if len(names) == 0 {
		return message
	}
	return message.WithHint("known are %s", strings.Join(names, ", "))
}

// DefaultPipeline is the name of the pipeline that is in force where a project
// has several and none is named.
const DefaultPipeline = "default"

// Pipeline returns the project's pipeline of that name. An empty name means the
// only one, or of several that called default. It is nil, for the built-in
// pipeline, when the project has none. An unknown name is an error of status
// protocol.ExitInvalid.
func (p *Project) Pipeline(name string) (*protocol.Pipeline, error) {
	if name == "" && (p == nil || len(p.Pipelines) == 0) {
		return nil, nil
	}
	if name == "" && len(p.Pipelines) == 1 {
		return &p.Pipelines[0], nil
	}
	wanted := name
	if wanted == "" {
		wanted = DefaultPipeline
	}
	var names []string
	if p != nil {
		for i, l := range p.Pipelines {
			if l.Name == wanted {
				return &p.Pipelines[i], nil
			}
			names = append(names, l.Name)
		}
	}
	if name == "" {
		return nil, protocol.Invalid("which pipeline? %s has %s, and none is called %s", p.file(), strings.Join(names, ", "), DefaultPipeline).
			WithHint("name one with --pipeline")
	}
	return nil, unknown("pipeline", name, names)
}
