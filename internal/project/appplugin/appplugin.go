// Package appplugin runs app plugins: it finds those on PATH that offer apps, and gets
// their documents.
package appplugin

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/cli/cachedir"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/pkg/protocol"
)

// atOnce is how many plugins are described in parallel.
const atOnce = 8

// Offer is an app plugin with the names of its apps.
type Offer struct {
	discovery.Plugin
	Apps []string
}

// Offers lists the app plugins on PATH, in its order. A plugin that is new or has changed
// is run with describe; one that does not answer offers nothing. The error is that of a
// cancelled context.
func Offers(ctx context.Context, path string) ([]Offer, error) {
	describer := discovery.Describer{Cache: cachedir.In("describe")}
	finder := lock.Finder(path)
	plugins := finder.List()
	found := make([]Offer, len(plugins))
	var all errgroup.Group
	all.SetLimit(atOnce)
	for i, p := range plugins {
		if p.Refused != "" || p.Shadowed != "" || slices.Contains(finder.Own, p.Name) || finder.Admit != nil && finder.Admit(p) != nil {
			continue
		}
		all.Go(func() error {
			if info, err := describer.Describe(ctx, p); err == nil {
				found[i] = Offer{Plugin: p, Apps: info.Apps}
			}
			return nil
		})
	}
	_ = all.Wait()
	return slices.DeleteFunc(found, func(o Offer) bool { return len(o.Apps) == 0 }), ctx.Err()
}

// Named is the plugin on PATH with that name: harmony-fleet, or fleet.
func Named(path, name string) (discovery.Plugin, error) {
	return lock.Finder(path).Find(strings.TrimPrefix(name, discovery.Prefix))
}

// Project is the offer of a plugin, in its order.
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
