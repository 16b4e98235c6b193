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
	if app.Chart.URL != "" {
		return packPublished(ctx, app)
	}
	source, err := sourceOf(ctx, app, image)
	if err != nil {
		return chart.Chart{}, err
	}
	return PackSource(ctx, app, image, source)
}

// PackSource packages a chart. Its version and appVersion become those of the
// app, and its values take the image where source.Image says, in each of those places; in
// the chart of a path, when source.Image is empty, in the one place where that works. The chart of
// an app without an image keeps its appVersion and its images. The objects
// that it renders, with its own values and with those of each of the app's targets,
// are checked. The app's further images go where source.Images says, or the same way.
// A chart that Helm or the cluster would not take, or that does not use all
// images, is an error of status protocol.ExitInvalid, which names the file, and
// the line where there is one. When the image's digest is not known yet, the chart
// has no archive.
func PackSource(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef, source Source) (chart.Chart, error) {
	planned := !image.AllPinned()
	if planned && app.Chart.Builder == nil { // what a plugin made has no digest in it
		image = foreseen(image)
	}
	p := packing{app: app, image: image, name: source.Name}
	if err := p.identify(tree(source.Files)); err != nil {
		return chart.Chart{}, fmt.Errorf("chart %s: %w", source.Name, err)
	}
	made, err := p.draft(ctx, source)
	if err != nil {
		return chart.Chart{}, err
	}
	packed := chart.Chart{
		Name: p.metadata.Name, Version: p.metadata.Version, Annotations: annotations(p.metadata),
		Image: made.image, Images: made.images, Warnings: made.warnings,
		Found: !slices.Equal(made.image, source.Image) || !maps.EqualFunc(made.images, source.imagesOf(app), slices.Equal),
	}
	packed.Config, err = json.Marshal(p.metadata)
	if err == nil && !planned {
		packed.Archive, err = archive(packed.Name, made.files)
	}
	if err != nil {
		return chart.Chart{}, fmt.Errorf("package chart %s: %w", source.Name, err)
	}
	return packed, nil
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
