package api

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/fluxcd/pkg/apis/meta"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/status"
)

// Status is what an OCIRepository or a HelmRelease tells.
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

// Read takes in an object of Flux.
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

// Entry is what a HelmRelease tells of its app.
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
