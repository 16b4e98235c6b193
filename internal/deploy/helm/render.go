package helm

import (
	"helm.sh/helm/v3/pkg/chart"

	"github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/internal/cluster/marks"
)

// loadChart unpacks an archive. What goes into a release is written into its
// metadata, where Helm keeps it with the revision (see record), and the app's
// version, which is not that of a chart of others.
func loadChart(archive []byte, r record, version string) (*chart.Chart, error) {
	loaded, err := file.Load(archive)
	if err != nil {
		return nil, err
	}
	if loaded.Metadata.Annotations == nil {
		loaded.Metadata.Annotations = map[string]string{}
	}
	r.write(loaded.Metadata.Annotations)
	loaded.Metadata.Annotations[marks.Version] = version
	return loaded, nil
}
