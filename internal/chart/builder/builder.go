// Package builder asks an app plugin for the chart of an app.
//
// The plugin is run as
//
//	harmony-NAME chart --output DIR
//
// with the AppSpec and the ImageRef on stdin. It writes the chart into a folder
// below DIR, and answers on stdout with one ChartRef whose path is that folder;
// or with a Failure. What it answers is only where the chart is: version and
// digest are those of whoever packages it.
package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/project/appplugin"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Ask has the app's plugin make the chart, and hands its folder to take, which
// must read it at once: it is gone when Ask returns. ref is the plugin's answer.
func Ask(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef, take func(dir string, ref protocol.ChartRef) error) error {
	plugin, err := find(ctx, app)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "harmony-chart-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	documents, err := appplugin.Ask(ctx, plugin, appplugin.Question{
		Args: []string{"chart", "--output", dir}, Stdin: []protocol.Spec{app, image}, Dir: app.ProjectRoot,
	})
	if err != nil {
		return err
	}
	ref, err := chartOf(documents)
	if err != nil {
		return appplugin.About(plugin, err)
	}
	made, err := within(dir, ref.Path)
	if err != nil {
		return appplugin.About(plugin, err)
	}
	return take(made, ref)
}

// find is the plugin that the app names, or the one that offers the app.
func find(ctx context.Context, app protocol.AppSpec) (discovery.Plugin, error) {
	path := os.Getenv("PATH")
	if name := app.Chart.Builder.Plugin; name != "" {
		return appplugin.Named(path, name)
	}
	offers, err := appplugin.Offers(ctx, path)
	if err != nil {
		return discovery.Plugin{}, err
	}
	offers = slices.DeleteFunc(offers, func(o appplugin.Offer) bool { return !slices.Contains(o.Apps, app.Name) })
	switch {
	case len(offers) == 0:
		return discovery.Plugin{}, protocol.Unsupported("chart of %s: no app plugin on PATH offers %[1]s", app.Name).
			WithHint("name it in spec.chart.builder.plugin; 'harmony plugin list' shows the plugins on PATH, also those that are refused")
	case len(offers) > 1:
		return discovery.Plugin{}, protocol.Invalid("chart of %s: both %s and %s offer it", app.Name, offers[0].Path, offers[1].Path).
			WithHint("name one in spec.chart.builder.plugin")
	}
	return offers[0].Plugin, nil
}

// chartOf is the last ChartRef of an answer.
func chartOf(documents []protocol.Document) (protocol.ChartRef, error) {
	for _, d := range slices.Backward(documents) {
		if d.Kind == protocol.KindChartRef {
			return protocol.Decode[protocol.ChartRef](d)
		}
	}
	return protocol.ChartRef{}, errors.New("it answered without a ChartRef")
}

// within is the folder that the plugin answered with. It is one below dir, with
// links followed.
func within(dir, path string) (string, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	made, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("its chart: %w", err)
	}
	if relative, err := filepath.Rel(root, made); err != nil || !filepath.IsLocal(relative) {
		return "", protocol.Invalid("its chart %q is not in the folder that it was given", term.Clean(path))
	}
	return made, nil
}
