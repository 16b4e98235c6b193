package project

import (
	"context"
	"os"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Standard are the streams of a stage of the suite: those of the process, and its
// project.
func Standard() command.Streams {
	streams := command.Standard()
	streams.Project = Reader{Getenv: streams.Getenv, Warn: func(text string) { term.Warn(os.Stderr, text) }}
	return streams
}

// Reader reads the project for a stage's command line.
type Reader struct {
	// Getenv looks up environment variables.
	Getenv func(string) string
	// Warn is told what could make a version wrong.
	Warn func(text string)
}

func (r Reader) source(ask command.Ask) Source {
	s := Source{File: ask.File, Topology: ask.Topology, Version: ask.Version, Getenv: r.Getenv, Warn: r.Warn}
	if ask.Target != "" {
		s.Needs = config.Needs{Targets: []string{ask.Target}}
	}
	return s
}

// Apps implements [command.Project].
func (r Reader) Apps(ctx context.Context, ask command.Ask, patterns []string) (protocol.Topology, []protocol.AppSpec, error) {
	return r.source(ask).Read(ctx, patterns)
}

// Topology implements [command.Project].
func (r Reader) Topology(ctx context.Context, ask command.Ask) (protocol.Topology, error) {
	return r.source(ask).ConfiguredTopology(ctx)
}

// Names implements [command.Project]. It asks no plugin.
func (r Reader) Names(ask command.Ask) ([]string, error) {
	project, err := r.source(ask).Project()
	return project.Names(), err
}
