// Package chart packages an app's Helm chart for a release: the release's
// version in Chart.yaml, the image by digest in values.yaml, and an archive
// that is the same, byte for byte, wherever and whenever it is made.
package chart

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	chartFile  = "Chart.yaml"
	valuesFile = "values.yaml"
)

// Package is a packaged chart.
type Package struct {
	// Metadata is what Chart.yaml says, with the release's version.
	Metadata *chart.Metadata
	// Archive is the .tgz, as helm package makes it.
	Archive []byte
}

// Digest is that of the archive: sha256:…
func (p Package) Digest() string {
	sum := sha256.Sum256(p.Archive)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Pack packages the chart folder of the app. The chart's version and appVersion
// become those of the app, and its values take the image where
// app.Chart.Image says. A chart that Helm would not take is an error of status
// protocol.ExitInvalid, which names the file, and the line where there is one.
func Pack(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (Package, error) {
	dir := filepath.Join(app.ProjectRoot, app.Chart.Path)
	files, err := read(ctx, dir)
	if err != nil {
		return Package{}, err
	}
	if err := prepare(files, app, image); err != nil {
		return Package{}, inFolder(dir, err)
	}
	loaded, err := load(files)
	if err != nil {
		return Package{}, inFolder(dir, err)
	}
	archive, err := archive(loaded.Metadata.Name, files)
	if err != nil {
		return Package{}, fmt.Errorf("package chart %s: %w", dir, err)
	}
	return Package{Metadata: loaded.Metadata, Archive: archive}, nil
}

// prepare writes the release into Chart.yaml and values.yaml.
func prepare(files tree, app protocol.AppSpec, image protocol.ImageRef) error {
	if _, ok := files[chartFile]; !ok {
		return protocol.Invalid("%s is missing", chartFile).WithHint("spec.chart.path is the folder of a Helm chart")
	}
	version := []setting{{"version", app.Version}, {"appVersion", app.Version}}
	if err := files.set(chartFile, version); err != nil {
		return err
	}
	return files.set(valuesFile, imageSettings(app.Chart.Image, image))
}

// imageSettings says which of the chart's values become what.
func imageSettings(places protocol.ChartImage, image protocol.ImageRef) []setting {
	repository := image.FullName()
	if places.Registry != "" {
		repository = image.Repository
	}
	return slices.DeleteFunc([]setting{
		{places.Value, image.String()},
		{places.Registry, image.Registry},
		{places.Repository, repository},
		{places.Tag, image.Tag},
		{places.Digest, image.Digest},
	}, func(s setting) bool { return s.path == "" })
}

// load reads the files as Helm would, and refuses what Helm would refuse later.
func load(files tree) (*chart.Chart, error) {
	loaded, err := loader.LoadFiles(files.buffered())
	if err != nil {
		return nil, protocol.Invalid("%w", err)
	}
	if err := checkDependencies(loaded); err != nil {
		return nil, err
	}
	if err := checkTemplates(loaded); err != nil {
		return nil, err
	}
	return loaded, nil
}

// checkDependencies refuses a chart of which a part is not there.
func checkDependencies(c *chart.Chart) error {
	vendored := map[string]bool{}
	for _, d := range c.Dependencies() {
		vendored[d.Name()] = true
	}
	var missing []string
	for _, d := range c.Metadata.Dependencies {
		if !vendored[d.Name] {
			missing = append(missing, d.Name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return protocol.Invalid("dependencies of %s are missing in charts/: %s", chartFile, strings.Join(missing, ", ")).
		WithHint("run helm dependency update on the chart's folder")
}

// inFolder says which chart an error is about.
func inFolder(dir string, err error) error {
	var e *protocol.Error
	if !errors.As(err, &e) {
		return fmt.Errorf("chart %s: %w", dir, err)
	}
	return protocol.Invalid("chart %s: %w", dir, err)
}

// tree is the files of a chart, by their path in it, with slashes.
type tree map[string][]byte

func (t tree) names() []string {
	names := make([]string, 0, len(t))
	for name := range t {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

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
