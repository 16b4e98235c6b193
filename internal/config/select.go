package config

import (
	"cmp"
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

// Select returns the apps that match the patterns, each once and in the order of the
// file. A pattern is an app's name or a glob such as 'fleet-*'; without a pattern, the
// project's only app is selected. A pattern without a match is an error of status
// protocol.ExitInvalid.
func (p *Project) Select(patterns []string) ([]protocol.AppSpec, error) {
	names := p.Names()
	if len(patterns) == 0 && len(names) != 1 {
		return nil, p.ambiguous(names)
	}
	var chosen []string
	for _, pattern := range patterns {
		found, err := match(pattern, names)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, found...)
	}
	return slices.DeleteFunc(slices.Clone(p.Apps), func(app protocol.AppSpec) bool {
		return len(patterns) > 0 && !slices.Contains(chosen, app.Name)
	}), nil
}

func (p *Project) ambiguous(names []string) error {
	if len(names) == 0 {
		return protocol.Invalid("there is no app in %s", p.file())
	}
	return protocol.Invalid("which app? %s has %s", p.file(), strings.Join(names, ", ")).
		WithHint("name one or more, also by globs such as '%s*', or use --all", names[0][:1])
}

// file is the project's file in messages.
func (p *Project) file() string {
	if p == nil || p.File == "" {
		return FileName
	}
	return displayName(p.File)
}

// match lists the names that match a name or glob, at least one.
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
	return message.WithHint("known: %s", strings.Join(names, ", "))
}

// defaultPipeline is the name of the pipeline that is used when a project has several
// and none is chosen.
const defaultPipeline = "default"

// Pipeline returns the project's pipeline of that name. An empty name means the only
// pipeline, or of several the one named default; nil, for the built-in pipeline, if the
// project has none. An unknown name is an error of status protocol.ExitInvalid.
func (p *Project) Pipeline(name string) (*protocol.Pipeline, error) {
	var pipelines []protocol.Pipeline
	if p != nil {
		pipelines = p.Pipelines
	}
	switch {
	case name == "" && len(pipelines) == 0:
		return nil, nil
	case name == "" && len(pipelines) == 1:
		return &pipelines[0], nil
	}
	var names []string
	for i, l := range pipelines {
		if l.Name == cmp.Or(name, defaultPipeline) {
			return &pipelines[i], nil
		}
		names = append(names, l.Name)
	}
	if name == "" {
		return nil, protocol.Invalid("which pipeline? %s has %s, none of which is named %s", p.file(), strings.Join(names, ", "), defaultPipeline).
			WithHint("choose one with --pipeline")
	}
	return nil, unknown("pipeline", name, names)
}
