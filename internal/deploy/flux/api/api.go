// Package api is what harmony knows of Flux's objects: their resources, how the
// two for a chart are made, and what they say.
package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	chartfile "github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/internal/cluster/drift"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The resources of Flux that are read and written.
var (
	Sources  = schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "ocirepositories"}
	Releases = schema.GroupVersionResource{Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"}
)

// SourceName is the name of the OCIRepository of a chart. Each digest has its own,
// so that a HelmRelease goes from one chart and its values to another chart and
// its values in one write, once the chart is there.
func SourceName(app, digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	return app + "-" + digest[:min(len(digest), 12)]
}

// Source is the OCIRepository that pins a chart.
func Source(chart protocol.ChartRef, namespace, name, interval, secretRef string) (*unstructured.Unstructured, error) {
	spec := map[string]any{
		"interval":      interval,
		"url":           chart.URL,
		"ref":           map[string]any{"digest": chart.Digest},
		"layerSelector": map[string]any{"mediaType": chartfile.Layer, "operation": "copy"},
	}
	if chart.Insecure {
		spec["insecure"] = true
	}
	if secretRef != "" {
		spec["secretRef"] = map[string]any{"name": secretRef}
	}
	return object(Sources, "OCIRepository", namespace, name, spec)
}

// Release is the HelmRelease of an app with the values; spec is what else it has.
// A failed upgrade is rolled back after the retries.
func Release(namespace, app string, chartRef map[string]any, retries int, rollback bool, values, spec map[string]any) (*unstructured.Unstructured, error) {
	spec["releaseName"], spec["chartRef"] = app, chartRef
	spec["install"] = map[string]any{"remediation": map[string]any{"retries": retries}}
	spec["upgrade"] = map[string]any{"remediation": map[string]any{"retries": retries, "strategy": "rollback", "remediateLastFailure": rollback}}
	if len(values) > 0 {
		spec["values"] = values
	}
	return object(Releases, "HelmRelease", namespace, app, spec)
}

// object is an object as decoded from JSON, whatever Go types the spec has.
func object(of schema.GroupVersionResource, kind, namespace, name string, spec map[string]any) (*unstructured.Unstructured, error) {
	made := &unstructured.Unstructured{}
	encoded, err := json.Marshal(map[string]any{
		"apiVersion": of.GroupVersion().String(), "kind": kind, "metadata": map[string]any{"name": name, "namespace": namespace}, "spec": spec,
	})
	if err == nil {
		err = made.UnmarshalJSON(encoded)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, name, err)
	}
	return made, nil
}

// ours begins the patches of LeaveReplicas.
const ours = "# harmony: autoscaled\n"

// LeaveReplicas has the HelmRelease leave the replicas of what is scaled as the
// autoscaler left them: at what they are now on the cluster, or else out of the
// chart. ignore are fields that the topology leaves alone everywhere.
func LeaveReplicas(release *unstructured.Unstructured, scaled []drift.Scaled, ignore []string) {
	rules, patches := ignored(ignore), []any{}
	for _, s := range scaled {
		target := map[string]any{"kind": s.Kind, "name": s.Name}
		rules = append(rules, map[string]any{"paths": []any{"/spec/replicas"}, "target": target})
		replicas := "null"
		if s.Replicas != nil {
			replicas = fmt.Sprint(*s.Replicas)
		}
		patches = append(patches, map[string]any{"target": target, "patch": fmt.Sprintf("%sapiVersion: %s\nkind: %s\nmetadata: {name: %s}\nspec: {replicas: %s}\n",
			ours, s.APIVersion, s.Kind, s.Name, replicas)})
	}
	spec, _ := release.Object["spec"].(map[string]any)
	detection, _ := spec["driftDetection"].(map[string]any)
	if detection["ignore"] = rules; len(rules) == 0 {
		delete(detection, "ignore")
	}
	if len(patches) == 0 {
		delete(spec, "postRenderers")
		return
	}
	spec["postRenderers"] = []any{map[string]any{"kustomize": map[string]any{"patches": patches}}}
}

// ignored is the rule for the fields that are ignored everywhere.
func ignored(paths []string) []any {
	if len(paths) == 0 {
		return nil
	}
	all := make([]any, len(paths))
	for i, path := range paths {
		all[i] = path
	}
	return []any{map[string]any{"paths": all}}
}

// CarryReplicas takes what LeaveReplicas wrote into a HelmRelease over into the
// wanted one: it is written again only along with something else.
func CarryReplicas(from, into *unstructured.Unstructured) {
	text := ""
	renderers, _, _ := unstructured.NestedSlice(from.Object, "spec", "postRenderers")
	if len(renderers) == 1 {
		first, _ := renderers[0].(map[string]any)
		patches, _, _ := unstructured.NestedSlice(first, "kustomize", "patches")
		if len(patches) > 0 {
			patch, _ := patches[0].(map[string]any)
			text, _ = patch["patch"].(string)
		}
	}
	if !strings.HasPrefix(text, ours) {
		return
	}
	spec, _ := into.Object["spec"].(map[string]any)
	spec["postRenderers"] = renderers
	detection, _ := spec["driftDetection"].(map[string]any)
	wanted, _ := detection["ignore"].([]any)
	rules, _, _ := unstructured.NestedSlice(from.Object, "spec", "driftDetection", "ignore")
	for _, rule := range rules {
		if rule, _ := rule.(map[string]any); rule["target"] != nil && reflect.DeepEqual(rule["paths"], []any{"/spec/replicas"}) {
			wanted = append(wanted, rule)
		}
	}
	detection["ignore"] = wanted
}

// Status is the status of an OCIRepository or a HelmRelease.
type Status struct {
	meta.ReconcileRequestStatus `json:",inline"`

	ObservedGeneration int64              `json:"observedGeneration"`
	Conditions         []metav1.Condition `json:"conditions"`
	// Artifact is that of an OCIRepository.
	Artifact *meta.Artifact `json:"artifact"`
	// The others are those of a HelmRelease, the newest revision first.
	StorageNamespace            string     `json:"storageNamespace"`
	LastAttemptedRevisionDigest string     `json:"lastAttemptedRevisionDigest"`
	History                     []Revision `json:"history"`
}

// Revision is one of a Helm release that Flux made.
type Revision struct {
	Version      int    `json:"version"`
	ChartVersion string `json:"chartVersion"`
	// LastDeployed is when.
	LastDeployed metav1.Time `json:"lastDeployed"`
	OCIDigest    string      `json:"ociDigest"`
}

// Seen is an OCIRepository or a HelmRelease as it was read.
type Seen struct {
	*unstructured.Unstructured
	Status Status
}

// Read reads the status of an object of Flux.
func Read(object *unstructured.Unstructured) (Seen, error) {
	o := Seen{Unstructured: object}
	raw, _, err := unstructured.NestedMap(object.Object, "status")
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &o.Status)
	}
	if err != nil {
		return Seen{}, fmt.Errorf("%s: status: %w", o, err)
	}
	return o, nil
}

func (o Seen) String() string { return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName() }

// Condition is one of the object as it is now, not of an earlier generation; nil
// when there is none.
func (o Seen) Condition(kind string) *metav1.Condition {
	c := apimeta.FindStatusCondition(o.Status.Conditions, kind)
	if c == nil || c.ObservedGeneration != 0 && c.ObservedGeneration != o.GetGeneration() {
		return nil
	}
	return c
}

func (o Seen) text(fields ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, fields...)
	return s
}

// Delivers reports a HelmRelease that is the app's in the namespace.
func (o Seen) Delivers(namespace, app string) bool {
	named := cmp.Or(o.text("spec", "releaseName"), o.GetName()) == app || o.GetName() == app || o.GetLabels()[marks.App] == app
	return named && cmp.Or(o.text("spec", "targetNamespace"), o.GetNamespace()) == namespace
}

// Entry is the status of the app according to a HelmRelease.
func (o Seen) Entry() status.Entry {
	e := status.Entry{Adapter: "flux", Object: o.String(), DriftIgnore: o.driftIgnore()}
	e.Annotated(o.GetAnnotations())
	if len(o.Status.History) > 0 {
		last := o.Status.History[0]
		e.Chart, e.Revision = last.OCIDigest, last.Version
		if version, _, _ := strings.Cut(last.ChartVersion, "+"); e.Version == "" {
			e.Version = version // Flux adds the beginning of the digest to the chart's
		}
		if !last.LastDeployed.IsZero() {
			e.Since = new(last.LastDeployed.UTC())
		}
	}
	suspended, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend")
	ready := apimeta.FindStatusCondition(o.Status.Conditions, meta.ReadyCondition)
	current := ready != nil && o.Status.ObservedGeneration == o.GetGeneration()
	switch {
	case suspended:
		e.State = "suspended"
	case !current:
		e.State = "reconciling"
	default:
		e.State = ready.Reason
	}
	if e.Healthy = current && ready.Status == metav1.ConditionTrue; !e.Healthy && ready != nil {
		e.Message = ready.Message
	}
	return e
}

// driftIgnore are the fields of a HelmRelease's objects that others may change.
// What is ignored of some objects only is not among them.
func (o Seen) driftIgnore() []string {
	rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "driftDetection", "ignore")
	var all []string
	for _, rule := range rules {
		if rule, _ := rule.(map[string]any); rule["target"] == nil {
			paths, _, _ := unstructured.NestedStringSlice(rule, "paths")
			all = append(all, paths...)
		}
	}
	return all
}
