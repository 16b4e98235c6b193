package edge

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/drift"
	"github.com/nationtech/harmony/internal/deploy/flux/api"
)

// interval is how often Flux looks again by itself, and retries how often it
// tries a failed release before it stays at the one before.
const (
	interval = "10m"
	retries  = 3
)

// helmRelease are the objects with which Flux installs the chart by itself.
func (d *deployment) helmRelease(chart []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	namespace, name := d.place.Target.Namespace, api.SourceName(d.app.Name, d.chart.Digest)
	source, err := api.Source(d.chart, namespace, name, interval, d.place.Target.SecretRef)
	if err != nil {
		return nil, err
	}
	release, err := api.Release(namespace, d.app.Name, map[string]any{"kind": "OCIRepository", "name": name}, retries, true, d.values, map[string]any{
		"interval": interval, "driftDetection": map[string]any{"mode": "enabled"},
	})
	if err != nil {
		return nil, err
	}
	api.LeaveReplicas(release, drift.ScaledBy(chart), nil)
	return []*unstructured.Unstructured{source, release}, nil
}
