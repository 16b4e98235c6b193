package edge

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	chartfile "github.com/nationtech/harmony/internal/chart/file"
)

// interval is how often Flux looks again by itself, and retries how often it
// tries a failed release before it stays at the one before.
const (
	interval = "10m"
	retries  = int64(3)
)

// helmRelease are the objects with which Flux installs the chart by itself. Each
// chart has an OCIRepository of its own, so that the chart and its values change
// together.
func (d *deployment) helmRelease() []*unstructured.Unstructured {
	namespace := d.place.Target.Namespace
	digest := strings.TrimPrefix(d.chart.Digest, "sha256:")
	source := d.app.Name + "-" + digest[:min(len(digest), 12)]
	repository := map[string]any{
		"interval":      interval,
		"url":           d.chart.URL,
		"ref":           map[string]any{"digest": d.chart.Digest},
		"layerSelector": map[string]any{"mediaType": chartfile.Layer, "operation": "copy"},
	}
	if d.chart.Insecure {
		repository["insecure"] = true
	}
	if d.place.Target.SecretRef != "" {
		repository["secretRef"] = map[string]any{"name": d.place.Target.SecretRef}
	}
	spec := map[string]any{
		"interval":       interval,
		"releaseName":    d.app.Name,
		"chartRef":       map[string]any{"kind": "OCIRepository", "name": source},
		"driftDetection": map[string]any{"mode": "enabled"},
		"install":        map[string]any{"remediation": map[string]any{"retries": retries}},
		"upgrade":        map[string]any{"remediation": map[string]any{"retries": retries, "strategy": "rollback", "remediateLastFailure": true}},
	}
	if len(d.values) > 0 {
		spec["values"] = d.values
	}
	return []*unstructured.Unstructured{
		object("source.toolkit.fluxcd.io/v1", "OCIRepository", namespace, source, repository),
		object("helm.toolkit.fluxcd.io/v2", "HelmRelease", namespace, d.app.Name, spec),
	}
}

func object(version, kind, namespace, name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": version, "kind": kind,
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"spec":     spec,
	}}
}
