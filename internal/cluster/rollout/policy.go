package rollout

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/pkg/protocol"
)

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
	// PolicyIgnore does not look at the object.
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
		return nil, protocol.Invalid("%v is no map of kinds, such as {Certificate: condition=Ready}", from)
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

func (p Policies) of(kind schema.GroupVersionKind) Policy {
	for _, name := range []string{kind.Kind + "." + kind.Group, kind.Kind} {
		if policy, ok := p[name]; ok {
			return policy
		}
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

// holds applies the object's policy to what kstatus says of it.
func (w Workload) holds(object *unstructured.Unstructured, current bool) bool {
	if kind, named := strings.CutPrefix(string(w.Policy), conditionPrefix); named {
		return observed(object) && condition(object, kind) == "True"
	}
	return w.Policy == PolicyExists || current
}

// observed reports that what the status says is about the present object.
func observed(object *unstructured.Unstructured) bool {
	seen, ok, err := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
	return !ok || err != nil || seen >= object.GetGeneration()
}
