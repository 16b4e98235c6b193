package deploytest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/go-containerregistry/pkg/v1/static"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/clustertest/charts"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Chart packages the chart with the image in its values, and pushes it. The
// same content gives the same digest.
func (w *World) Chart() protocol.ChartRef {
	w.T.Helper()
	archive, err := os.ReadFile(w.Archive())
	if err != nil {
		w.T.Fatal(err)
	}
	repository := clustertest.Registry(w.T) + "/harmony-test/charts/" + w.Namespace + "/" + AppName
	digest := charts.Push(w.T, repository+":"+w.Version, static.NewLayer(archive, file.Layer))
	return protocol.ChartRef{
		URL: "oci://" + repository, Chart: AppName, ChartVersion: w.Version, Digest: digest,
		Image: protocol.ImagePlaces{{Value: "image"}}, Insecure: true,
	}
}

// Archive is the chart as a file; it is called app.
func (w *World) Archive() string {
	w.T.Helper()
	c := &chart.Chart{
		Metadata: &chart.Metadata{APIVersion: "v2", Name: AppName, Version: w.Version},
		Raw:      []*chart.File{{Name: "values.yaml", Data: []byte("image: " + w.Image.String() + "\n")}},
		Values:   map[string]any{"image": w.Image.String()},
	}
	for _, name := range slices.Sorted(maps.Keys(w.Templates)) {
		c.Templates = append(c.Templates, &chart.File{Name: "templates/" + name, Data: []byte(w.Templates[name])})
	}
	key := sha256.New()
	fmt.Fprintln(key, w.Version)
	for _, f := range append(c.Raw, c.Templates...) {
		fmt.Fprintf(key, "%s\n%s\n", f.Name, f.Data)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	path := filepath.Join(w.charts, hex.EncodeToString(key.Sum(nil))+".tgz")
	if _, err := os.Stat(path); err == nil {
		return path
	}
	saved, err := chartutil.Save(c, w.T.TempDir()) // which writes the time into it
	if err != nil {
		w.T.Fatal(err)
	}
	if err := os.Rename(saved, path); err != nil {
		w.T.Fatal(err)
	}
	return path
}
