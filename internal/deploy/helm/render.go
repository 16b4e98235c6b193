package helm

import (
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"k8s.io/client-go/discovery"

	"github.com/nationtech/harmony/internal/chart/file"
)

// capabilities asks the API server what it is, once for the preview and for
// Helm.
func capabilities(c *cluster) (*chartutil.Capabilities, error) {
	version, err := c.discovery.ServerVersion()
	if err != nil {
		return nil, err
	}
	kinds, err := action.GetVersionSet(c.discovery)
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, err
	}
	return &chartutil.Capabilities{
		KubeVersion: chartutil.KubeVersion{Version: version.GitVersion, Major: version.Major, Minor: version.Minor},
		APIVersions: kinds, HelmVersion: chartutil.DefaultCapabilities.HelmVersion,
	}, nil
}

// loadChart unpacks an archive. What goes into a release is written into its
// metadata, where Helm keeps it with the revision (see record).
func loadChart(archive []byte, r record) (*chart.Chart, error) {
	loaded, err := file.Load(archive)
	if err != nil {
		return nil, err
	}
	if loaded.Metadata.Annotations == nil {
		loaded.Metadata.Annotations = map[string]string{}
	}
	r.write(loaded.Metadata.Annotations)
	return loaded, nil
}
