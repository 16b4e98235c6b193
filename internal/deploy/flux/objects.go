package flux

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The resources of Flux that are written.
var (
	sources  = schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "ocirepositories"}
	releases = schema.GroupVersionResource{Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"}
)

// chartLayer is the media type of the chart's archive.
const chartLayer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

// The labels by which the OCIRepositories of a HelmRelease are found again.
const (
	releaseLabel   = "harmony.nationtech.io/release"
	namespaceLabel = "harmony.nationtech.io/namespace"
)

// sourceAt is where the OCIRepository of the chart is. Each digest has its own,
// so that a HelmRelease goes from one chart and its values to another chart and
// its values in one write, once the chart is there.
func (d *deployment) sourceAt() (namespace, name string) {
	digest := strings.TrimPrefix(d.chart.Digest, "sha256:")
	name = d.app.Name + "-" + digest[:min(len(digest), 12)]
	if d.settings.sourceNamespace == "" || d.settings.sourceNamespace == d.Namespace {
		return d.Namespace, name
	}
	return d.settings.sourceNamespace, d.Namespace + "-" + name
}

func (d *deployment) sourceLabels() map[string]string {
	return map[string]string{releaseLabel: d.app.Name, namespaceLabel: d.Namespace}
}

// wantedSource is the OCIRepository that pins the chart.
func (d *deployment) wantedSource() (*unstructured.Unstructured, error) {
	namespace, name := d.sourceAt()
	spec := map[string]any{
		"interval": text(d.settings.interval),
		"url":      d.chart.URL,
		"ref":      map[string]any{"digest": d.chart.Digest},
		"layerSelector": map[string]any{
			"mediaType": chartLayer, "operation": "copy",
		},
	}
	if d.chart.Insecure {
		spec["insecure"] = true
	}
	if d.settings.secretRef != "" {
		spec["secretRef"] = map[string]any{"name": d.settings.secretRef}
	}
	made, err := object("source.toolkit.fluxcd.io/v1", "OCIRepository", namespace, name, spec)
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
		"interval":       text(d.settings.interval),
		"timeout":        text(d.settings.timeout),
		"releaseName":    d.app.Name,
		"maxHistory":     d.settings.maxHistory,
		"chartRef":       chart,
		"driftDetection": drift,
		"install":        map[string]any{"remediation": map[string]any{"retries": d.settings.retries}},
		"upgrade": map[string]any{"remediation": map[string]any{
			"retries": d.settings.retries, "strategy": "rollback", "remediateLastFailure": d.settings.rollback,
		}},
	}
	if len(d.values) > 0 {
		spec["values"] = d.values
	}
	if d.settings.serviceAccount != "" {
		spec["serviceAccountName"] = d.settings.serviceAccount
	}
	return object("helm.toolkit.fluxcd.io/v2", "HelmRelease", d.Namespace, d.app.Name, spec)
}

// text is a duration as Flux takes it.
func text(d time.Duration) string { return d.String() }

// object is an object as it comes over the wire, whatever Go types the spec has.
func object(version, kind, namespace, name string, spec map[string]any) (*unstructured.Unstructured, error) {
	encoded, err := json.Marshal(map[string]any{
		"apiVersion": version, "kind": kind, "metadata": map[string]any{"name": name, "namespace": namespace}, "spec": spec,
	})
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, name, err)
	}
	made := &unstructured.Unstructured{}
	if err := made.UnmarshalJSON(encoded); err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, name, err)
	}
	return made, nil
}
