// Package project reads the start of a stream: a topology, and the requested apps, each
// with the version of this release.
package project

import (
	"context"
	"maps"
	"os"
	"slices"

	"github.com/Masterminds/semver/v3"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/project/git"
	"github.com/nationtech/harmony/internal/project/version"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/plugin/signals"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Source says where the project is, by the command line and the environment.
type Source struct {
	// File is the configuration; found from the current folder when empty.
	File string
	// Topology names one; HARMONY_TOPOLOGY, CI or local when empty.
	Topology string
	// Version is that of every app; git describes each one's when empty.
	Version string
	// Needs are the parts of the topology that will be used.
	Needs  config.Needs
	Getenv func(string) string
	// Warn, if set, gets warnings about versions that could be wrong.
	Warn func(text string)
}

// Project reads the configuration. It runs no plugin; see [Source.Find].
func (s Source) Project() (*config.Project, error) {
	file := s.File
	if file == "" {
		var err error
		if file, err = config.Find(""); err != nil {
			return nil, err
		}
	}
	return config.Load(file)
}

// WithVersions returns the apps with the version of this release.
func (s Source) WithVersions(ctx context.Context, apps []protocol.AppSpec) ([]protocol.AppSpec, error) {
	versioned := slices.Clone(apps)
	if s.Version != "" {
		v, err := semver.StrictNewVersion(s.Version)
		if err != nil {
			return nil, protocol.Invalid("--version %q is not a semantic version such as 1.4.0 or 1.4.0-rc.1", s.Version)
		}
		for i := range versioned {
			versioned[i].Version = v.String()
		}
		return versioned, nil
	}
	return versioned, s.describe(ctx, versioned)
}

// describe sets the versions of the apps by git, which looks at each repository once.
func (s Source) describe(ctx context.Context, apps []protocol.AppSpec) error {
	places := map[string][]int{} // the apps of a work tree
	for i, app := range apps {
		top := git.Top(app.ProjectRoot)
		places[top] = append(places[top], i)
	}
	for _, top := range slices.Sorted(maps.Keys(places)) {
		var names []string
		for _, i := range places[top] {
			names = append(names, apps[i].Name)
		}
		described, err := version.Describe(ctx, apps[places[top][0]].ProjectRoot, names)
		if err != nil {
			return err
		}
		for n, i := range places[top] {
			apps[i].Version = described[n].Version
			if warning := described[n].Warning; warning != "" && s.Warn != nil {
				s.Warn(warning)
			}
		}
	}
	return nil
}

// Read reads the topology, and the apps of these names or globs with the version of
// this release.
func (s Source) Read(ctx context.Context, patterns []string) (protocol.Topology, []protocol.AppSpec, error) {
	var none protocol.Topology
	project, err := s.Find(ctx, Wanted{Patterns: patterns})
	if err != nil {
		return none, nil, err
	}
	apps, err := project.Select(patterns)
	if err != nil {
		return none, nil, err
	}
	topology, err := s.TopologyOf(ctx, project)
	if err != nil {
		return none, nil, err
	}
	if err := project.Require(topology, s.Needs); err != nil {
		return none, nil, err
	}
	if err := config.Locked(apps); err != nil {
		return none, nil, err
	}
	apps, err = s.WithVersions(ctx, apps)
	return topology, apps, err
}

// ConfiguredTopology is the topology for a stream without one.
func (s Source) ConfiguredTopology(ctx context.Context) (protocol.Topology, error) {
	project, err := s.Find(ctx, Wanted{})
	if err != nil {
		return protocol.Topology{}, err
	}
	return s.TopologyOf(ctx, project)
}

// Main runs a stage of the suite as this process, and exits with its status.
func Main(stage plugin.Stage, options ...command.Option) {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	os.Exit(command.Main(ctx, stage, Standard(), os.Args[1:], options...))
}

// Standard are the streams of a stage of the suite: those of the process, and its
// project.
func Standard() command.Streams {
	streams := command.Standard()
	streams.Project = reader{Source{Getenv: streams.Getenv, Warn: func(text string) { term.Warn(os.Stderr, text) }}}
	return streams
}

// reader reads the project for a stage's command line.
type reader struct{ Source }

func (r reader) source(ask command.Ask) Source {
	r.File, r.Source.Topology, r.Version = ask.File, ask.Topology, ask.Version
	if ask.Target != "" {
		r.Needs.Targets = []string{ask.Target}
	}
	return r.Source
}

// Apps implements [command.Project].
func (r reader) Apps(ctx context.Context, ask command.Ask, patterns []string) (protocol.Topology, []protocol.AppSpec, error) {
	return r.source(ask).Read(ctx, patterns)
}

// Topology implements [command.Project].
func (r reader) Topology(ctx context.Context, ask command.Ask) (protocol.Topology, error) {
	return r.source(ask).ConfiguredTopology(ctx)
}

// Names implements [command.Project]. It runs no plugin.
func (r reader) Names(ask command.Ask) ([]string, error) {
	project, err := r.source(ask).Project()
	return project.Names(), err
}
