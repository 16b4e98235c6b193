// Package rollout follows workloads until they run: it watches them and their
// pods, tells the progress, stops early on what cannot succeed, and then says
// why, with the pod's events and last log lines.
package rollout

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/dynamic"
)

// Workload names an object that is waited for: one that runs pods, or another
// one with a status (see [Objects]).
type Workload struct {
	// Kind is Deployment, StatefulSet, DaemonSet, Job or Pod, or that of an
	// object with a Resource.
	Kind, Namespace, Name string
	// Resource is where an object is read that runs no pods; nil for those that
	// do. Policy is what of it is waited for.
	Resource dynamic.ResourceInterface
	Policy   Policy
	// Selector selects its pods, and perhaps those of others; nil for a Pod.
	Selector labels.Selector
	// Ignore is the UID of an object of that name which is not the one meant,
	// such as a Job that is about to be replaced.
	Ignore string
}

// String is kind/name as kubectl takes it.
func (w Workload) String() string { return strings.ToLower(w.Kind) + "/" + w.Name }

// groups maps the kinds that are followed to their API group.
var groups = map[string]string{
	"Deployment": "apps", "StatefulSet": "apps", "DaemonSet": "apps", "Job": "batch", "Pod": "",
}

// Workloads are those of the objects that run pods. Objects without a namespace
// are in the one given.
func Workloads(objects []*unstructured.Unstructured, namespace string) ([]Workload, error) {
	var found []Workload
	for _, object := range objects {
		group, ok := groups[object.GetKind()]
		if !ok || object.GroupVersionKind().Group != group {
			continue
		}
		w := Workload{Kind: object.GetKind(), Namespace: object.GetNamespace(), Name: object.GetName()}
		if w.Namespace == "" {
			w.Namespace = namespace
		}
		selector, err := selectorOf(object)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w, err)
		}
		w.Selector = selector
		found = append(found, w)
	}
	return found, nil
}

// selectorOf is how the object selects its pods. The Job controller makes the
// selector of a Job, so that its label stands in for it.
func selectorOf(object *unstructured.Unstructured) (labels.Selector, error) {
	switch object.GetKind() {
	case "Pod":
		return nil, nil
	case "Job":
		return labels.SelectorFromSet(labels.Set{"job-name": object.GetName()}), nil
	}
	var selector metav1.LabelSelector
	raw, _, err := unstructured.NestedMap(object.Object, "spec", "selector")
	if err != nil {
		return nil, err
	}
	if err := decode(raw, &selector); err != nil {
		return nil, fmt.Errorf("spec.selector: %w", err)
	}
	return metav1.LabelSelectorAsSelector(&selector)
}
