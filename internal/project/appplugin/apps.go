package appplugin

import (
	"context"
	"os"
	"path/filepath"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Project is what a plugin offers, in its order.
type Project struct {
	// Apps have an absolute ProjectRoot, a folder on this machine.
	Apps       []protocol.AppSpec
	Topologies []protocol.Topology
	Pipelines  []protocol.Pipeline
}

// Apps asks a plugin for its apps, and for the topologies and pipelines of their
// project. Each document is valid on its own.
func Apps(ctx context.Context, p discovery.Plugin) (Project, error) {
	var project Project
	documents, err := Ask(ctx, p, Question{Args: []string{"apps"}})
	if err != nil {
		return project, err
	}
	for _, d := range documents {
		switch d.Kind {
		case protocol.KindAppSpec:
			project.Apps, err = accept(project.Apps, d)
			if err == nil {
				err = checkRoot(project.Apps[len(project.Apps)-1].ProjectRoot)
			}
		case protocol.KindTopology:
			project.Topologies, err = accept(project.Topologies, d)
		case protocol.KindPipeline:
			project.Pipelines, err = accept(project.Pipelines, d)
		}
		if err != nil {
			return project, About(p, protocol.Invalid("its %s %q: %s", d.Kind, term.Clean(d.Metadata.Name), term.Clean(err.Error())))
		}
	}
	return project, nil
}

// accept appends what a document holds to a list, when it is valid.
func accept[S interface{ Validate() error }, P protocol.Decodable[S]](list []S, d protocol.Document) ([]S, error) {
	spec, err := protocol.Decode[S, P](d)
	if err == nil {
		err = spec.Validate()
	}
	return append(list, spec), err
}

func checkRoot(folder string) error {
	info, err := os.Stat(folder)
	switch {
	case !filepath.IsAbs(folder):
		return protocol.Invalid("spec.projectRoot: %q is not an absolute path", folder)
	case err != nil:
		return protocol.Invalid("spec.projectRoot: %w", err)
	case !info.IsDir():
		return protocol.Invalid("spec.projectRoot: %s is not a folder", folder)
	}
	return nil
}
