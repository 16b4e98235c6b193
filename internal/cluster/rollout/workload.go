// Package rollout follows workloads until they run: it watches them and their
// pods, reports the progress, stops early on what cannot succeed, and then says
// why, with the pod's events and last log lines.
package rollout

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Workload names an object that is waited for: one that runs pods, or another
// one with a status (see [Objects]).
type Workload struct {
	// Kind is Deployment, StatefulSet, DaemonSet, Job or Pod, or that of an
	// object with a Resource.
	Kind, Namespace, Name string
	// Resource is where a custom resource is read; nil for the kinds of Kubernetes
	// that run pods. Policy is what of it is waited for, unless it has a Selector
	// too: see [Progressive].
	Resource dynamic.ResourceInterface
	Policy   Policy
	// target is the Deployment that a Rollout or a Canary refers to.
	target string
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
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &selector); err != nil {
		return nil, fmt.Errorf("spec.selector: %w", err)
	}
	return metav1.LabelSelectorAsSelector(&selector)
}

// Policy says what of an object that runs no pods is waited for.
type Policy string

// The policies. Beside them there is condition=TYPE, as kubectl wait takes it:
// the object must have that condition with the status True.
const (
	// PolicyReady waits until kstatus takes the object for current: its observed
	// generation, and the conditions Ready, Reconciling and Stalled.
	PolicyReady Policy = "ready"
	// PolicyExists only waits until the object is there.
	PolicyExists Policy = "exists"
	// PolicyIgnore skips the object.
	PolicyIgnore Policy = "ignore"
)

const conditionPrefix = "condition="

// Policies are policies by kind, written Kind or Kind.group.
//
// Without one, custom resources, CustomResourceDefinitions and
// PersistentVolumeClaims have PolicyReady, and all else PolicyIgnore: a Service
// of type LoadBalancer, for one, stays pending for ever where nothing provides
// load balancers.
type Policies map[string]Policy

// ReadPolicies reads policies as they stand in a topology. What is wrong is an
// error of status protocol.ExitInvalid.
func ReadPolicies(from any) (Policies, error) {
	raw, ok := from.(map[string]any)
	if !ok {
		return nil, protocol.Invalid("%v is not a mapping of kinds, such as {Certificate: condition=Ready}", from)
	}
	policies := Policies{}
	for kind, value := range raw {
		text, _ := value.(string)
		policy := Policy(text)
		condition, named := strings.CutPrefix(text, conditionPrefix)
		if policy != PolicyReady && policy != PolicyExists && policy != PolicyIgnore && (!named || condition == "") {
			return nil, protocol.Invalid("%s: %v is not one of ready, exists, ignore, condition=TYPE", kind, value)
		}
		policies[kind] = policy
	}
	return policies, nil
}

// named is the policy that the topology names for a kind.
func (p Policies) named(kind schema.GroupVersionKind) (Policy, bool) {
	for _, name := range []string{kind.Kind + "." + kind.Group, kind.Kind} {
		if policy, ok := p[name]; ok {
			return policy, true
		}
	}
	return "", false
}

func (p Policies) of(kind schema.GroupVersionKind) Policy {
	if policy, ok := p.named(kind); ok {
		return policy
	}
	if isProgressive(kind) {
		return PolicyIgnore // see Progressive
	}
	custom := !scheme.Scheme.Recognizes(kind) && strings.Contains(kind.Group, ".")
	if custom || kind.Group == "" && kind.Kind == "PersistentVolumeClaim" {
		return PolicyReady
	}
	return PolicyIgnore
}

// Objects are those of the objects that run no pods but are waited for, as the
// policies have it. A kind that the server does not know, and one that may not
// be read although nobody asked for it, is left out: whoever applies it says
// more.
func Objects(ctx context.Context, objects []*unstructured.Unstructured, space manifest.Space, policies Policies) ([]Workload, error) {
	var found []Workload
	for _, object := range objects {
		kind := object.GroupVersionKind()
		policy := policies.of(kind)
		if group, pods := groups[kind.Kind]; policy == PolicyIgnore || pods && group == kind.Group {
			continue
		}
		resource, namespace, err := space.Resource(object)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", kind.Kind, object.GetName(), err)
		}
		w := Workload{Kind: kind.Kind, Namespace: namespace, Name: object.GetName(), Policy: policy, Resource: resource}
		if skip, err := w.needless(ctx, space.Dynamic); err != nil {
			return nil, err
		} else if !skip {
			found = append(found, w)
		}
	}
	return found, nil
}

// needless reports an object that cannot be waited for: one that may not be
// read, and a claim that is only bound when a pod uses it, which is then waited
// for.
func (w Workload) needless(ctx context.Context, client dynamic.Interface) (bool, error) {
	object, err := w.Resource.Get(ctx, w.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return true, nil
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read %s: %w", w, err)
	case w.Kind != "PersistentVolumeClaim":
		return false, nil
	}
	name, _, _ := unstructured.NestedString(object.Object, "spec", "storageClassName")
	if name == "" {
		return false, nil
	}
	classes := schema.GroupVersionResource{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}
	class, err := client.Resource(classes).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read StorageClass %s: %w", name, err)
	}
	mode, _, _ := unstructured.NestedString(class.Object, "volumeBindingMode")
	return mode == "WaitForFirstConsumer", nil
}

// holds applies the object's policy to its kstatus.
func (w Workload) holds(object *unstructured.Unstructured, current bool) bool {
	if kind, named := strings.CutPrefix(string(w.Policy), conditionPrefix); named {
		return observed(object) && conditionOf(object, kind).Status == corev1.ConditionTrue
	}
	return w.Policy == PolicyExists || current
}

// observed reports whether the status is about the current generation.
func observed(object *unstructured.Unstructured) bool {
	seen, ok, err := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
	return !ok || err != nil || seen >= object.GetGeneration()
}
