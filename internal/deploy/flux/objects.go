package flux

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/flux/api"
)

// The resources of Flux that are written.
var sources, releases = api.Sources, api.Releases

// sourceAt is where the OCIRepository of the chart is. Each digest has its own,
// so that a HelmRelease goes from one chart and its values to another chart and
// its values in one write, once the chart is there.
func (d *deployment) sourceAt() (namespace, name string) {
	name = api.SourceName(d.App.Name, d.Chart.Digest)
	if d.settings.sourceNamespace == "" || d.settings.sourceNamespace == d.Namespace {
		return d.Namespace, name
	}
	return d.settings.sourceNamespace, d.Namespace + "-" + name
}

// sourceLabels are those by which the OCIRepositories of a HelmRelease are found
// again.
func (d *deployment) sourceLabels() map[string]string {
	return map[string]string{marks.Release: d.App.Name, marks.Namespace: d.Namespace}
}

// wantedSource is the OCIRepository that pins the chart.
func (d *deployment) wantedSource() (*unstructured.Unstructured, error) {
	namespace, name := d.sourceAt()
	made, err := api.Source(d.Chart, namespace, name, d.settings.interval.String(), d.settings.secretRef)
	if err == nil {
		made.SetLabels(d.sourceLabels())
	}
	return made, err
}

// wantedRelease is the HelmRelease of the chart.
func (d *deployment) wantedRelease() (*unstructured.Unstructured, error) {
	namespace, name := d.sourceAt()
	chart := map[string]any{"kind": "OCIRepository", "name": name}
	if namespace != d.Namespace {
		chart["namespace"] = namespace
	}
	drift := map[string]any{"mode": "enabled"}
	if d.settings.reportDrift {
		drift["mode"] = "warn"
	}
	if len(d.settings.driftIgnore) > 0 {
		drift["ignore"] = []any{map[string]any{"paths": d.settings.driftIgnore}}
	}
	spec := map[string]any{
		"interval":       d.settings.interval.String(),
		"timeout":        d.settings.timeout.String(),
		"maxHistory":     d.settings.maxHistory,
		"driftDetection": drift,
	}
	if d.settings.serviceAccount != "" {
		spec["serviceAccountName"] = d.settings.serviceAccount
	}
	return api.Release(d.Namespace, d.App.Name, chart, d.settings.retries, d.settings.rollback, d.Values, spec)
}
