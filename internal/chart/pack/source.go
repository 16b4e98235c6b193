package pack

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/nationtech/harmony/internal/chart/builder"
	"github.com/nationtech/harmony/internal/chart/workload"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Source is a chart that is not packaged yet.
type Source struct {
	// Name is how errors call the chart: its path, or what made it.
	Name string
	// Files are the chart's files by their path in it, with slashes. Packaging
	// changes Chart.yaml and values.yaml.
	Files map[string][]byte
	// Image tells where the chart's values take the image.
	Image protocol.ChartImage
}

// Read reads the chart in a folder, without what .helmignore leaves out, or in
// an archive (.tgz). A chart that is larger than Helm takes, that holds anything
// but files, or of which a part lies outside of it, is an error of status
// protocol.ExitInvalid.
func Read(ctx context.Context, path string) (Source, error) {
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && strings.HasSuffix(path, ".tgz") {
		files, err := readArchive(path, info.Size())
		return Source{Name: path, Files: files}, err
	}
	files, err := read(ctx, path)
	return Source{Name: path, Files: files}, err
}

func readArchive(path string, size int64) (tree, error) {
	if size > loader.MaxDecompressedChartSize {
		return nil, protocol.Invalid("chart %s has %d bytes; Helm takes %d at most", path, size, loader.MaxDecompressedChartSize)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, protocol.Invalid("chart archive: %w", err)
	}
	files, err := unpack(data, newBudget())
	if err != nil {
		return nil, protocol.Invalid("chart %s: %w", path, err)
	}
	return files, nil
}

// sourceOf is the chart that the app names: a path, what an app plugin makes, or
// what is generated from the app's workload.
func sourceOf(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (source Source, err error) {
	switch {
	case app.Chart.Workload != nil:
		files, err := workload.Files(app)
		return Source{Name: "of spec.chart.workload", Files: files, Image: app.Chart.ImagePlaces()}, err
	case app.Chart.Builder != nil:
		err = builder.Ask(ctx, app, image, func(dir string, ref protocol.ChartRef) error {
			source, err = Read(ctx, dir)
			source.Image = ref.Image
			return err
		})
	default:
		source, err = Read(ctx, filepath.Join(app.ProjectRoot, app.Chart.Path))
		source.Image = app.Chart.Image
	}
	return source, err
}
