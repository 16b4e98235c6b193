package config

import (
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

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
