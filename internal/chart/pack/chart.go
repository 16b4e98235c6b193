// Package pack packages an app's Helm chart for a release: the release's
// version in Chart.yaml, the image by digest in values.yaml, and an archive
// that is the same, byte for byte, wherever and whenever it is made.
package pack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template/parse"

	"github.com/Masterminds/semver/v3"
	helmchart "helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/nationtech/harmony/internal/chart"
	"github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	chartFile  = "Chart.yaml"
	valuesFile = "values.yaml"
)

// Pack packages the chart of the app, wherever it comes from; see
// [PackSource]. It is a [chart.Packer].
func Pack(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (chart.Chart, error) {
	source, err := sourceOf(ctx, app, image)
	if err != nil {
		return chart.Chart{}, err
	}
	return PackSource(ctx, app, image, source)
}

// PackSource packages a chart. Its version and appVersion become those of the
// app, and its values take the image where source.Image says. The objects that it
// renders, with its own values and with those of each of the app's targets, are
// checked. A chart that Helm or the cluster would not take, or that does not use
// the image, is an error of status protocol.ExitInvalid, which names the file, and
// the line where there is one.
func PackSource(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef, source Source) (chart.Chart, error) {
	files := tree(source.Files)
	if err := prepare(files, app, source.Image, image); err != nil {
		return chart.Chart{}, fmt.Errorf("chart %s: %w", source.Name, err)
	}
	loaded, err := load(files)
	if err != nil {
		return chart.Chart{}, fmt.Errorf("chart %s: %w", source.Name, err)
	}
	warnings, err := checkRendered(ctx, app, image, source)
	switch {
	case err != nil && ctx.Err() != nil:
		return chart.Chart{}, fmt.Errorf("check chart %s: %w", source.Name, err)
	case err != nil:
		return chart.Chart{}, protocol.Invalid("chart %s: %w", source.Name, err)
	}
	archive, err := archive(loaded.Metadata.Name, files)
	if err != nil {
		return chart.Chart{}, fmt.Errorf("package chart %s: %w", source.Name, err)
	}
	config, err := json.Marshal(loaded.Metadata)
	if err != nil {
		return chart.Chart{}, fmt.Errorf("package chart %s: %w", source.Name, err)
	}
	return chart.Chart{
		Name: loaded.Metadata.Name, Version: loaded.Metadata.Version,
		Config: config, Annotations: annotations(loaded.Metadata),
		Archive: archive, Image: source.Image, Warnings: warnings,
	}, nil
}

// prepare writes the release into Chart.yaml and values.yaml.
func prepare(files tree, app protocol.AppSpec, places protocol.ChartImage, image protocol.ImageRef) error {
	if _, ok := files[chartFile]; !ok {
		return protocol.Invalid("%s is missing", chartFile).WithHint("spec.chart.path is the folder of a Helm chart")
	}
	if err := checkIdentity(files[chartFile]); err != nil {
		return protocol.Invalid("%w", err)
	}
	if _, err := semver.StrictNewVersion(app.Version); err != nil {
		return protocol.Invalid("version %q of %s is invalid: %w", app.Version, app.Name, err)
	}
	if err := files.set(chartFile, []setting{{"version", app.Version}, {"appVersion", app.Version}}); err != nil {
		return err
	}
	repository := image.FullName()
	if places.Registry != "" {
		repository = image.Repository
	}
	settings := slices.DeleteFunc([]setting{
		{places.Value, image.String()},
		{places.Registry, image.Registry},
		{places.Repository, repository},
		{places.Tag, image.Tag},
		{places.Digest, image.Digest},
	}, func(s setting) bool { return s.path == "" })
	if len(settings) == 0 {
		return nil
	}
	return files.set(valuesFile, settings)
}

// load reads the files as Helm would, and refuses what Helm would refuse later.
// Vendored charts are checked before Helm unpacks them.
func load(files tree) (*helmchart.Chart, error) {
	if err := checkVendored(files, newBudget(), 0); err != nil {
		return nil, err
	}
	loaded, err := loader.LoadFiles(files.buffered())
	if err != nil {
		return nil, protocol.Invalid("%w", located(err, files[chartFile]))
	}
	if err := checkDependencies(loaded); err != nil {
		return nil, err
	}
	if err := errors.Join(checkTemplates(loaded), file.CheckSchemas(loaded)); err != nil {
		return nil, protocol.Invalid("%w", err)
	}
	return loaded, nil
}

func checkTemplates(c *helmchart.Chart) error {
	for _, file := range c.Templates {
		t := parse.New(file.Name)
		t.Mode = parse.SkipFuncCheck
		if _, err := t.Parse(string(file.Data), "", "", map[string]*parse.Tree{}); err != nil {
			return err // it starts with template: NAME:LINE:
		}
	}
	for _, d := range c.Dependencies() {
		if err := checkTemplates(d); err != nil {
			return fmt.Errorf("in %s: %w", file.PathIn(d, ""), err)
		}
	}
	return nil
}

// tree is the files of a chart, by their path in it, with slashes.
type tree map[string][]byte

func (t tree) names() []string { return slices.Sorted(maps.Keys(t)) }

// buffered is the tree as Helm's loader takes it.
func (t tree) buffered() []*loader.BufferedFile {
	files := make([]*loader.BufferedFile, 0, len(t))
	for _, name := range t.names() {
		files = append(files, &loader.BufferedFile{Name: name, Data: t[name]})
	}
	return files
}

// set changes values of a YAML file, which is made when it is missing.
func (t tree) set(name string, settings []setting) error {
	for file := range t {
		if strings.HasPrefix(file, name+"/") {
			return protocol.Invalid("%s is a folder", name)
		}
	}
	edited, err := edit(t[name], settings)
	if err != nil {
		return protocol.Invalid("%s: %w", name, err)
	}
	t[name] = edited
	return nil
}
