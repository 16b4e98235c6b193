package drift

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// autoscalers are the resources that set the replicas of the object that their
// spec.scaleTargetRef names. Where KEDA pauses or scales to zero, it is its
// ScaledObject that says so.
var autoscalers = []schema.GroupVersionResource{
	{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
	{Group: "keda.sh", Version: "v1alpha1", Resource: "scaledobjects"},
}

// KeepReplicas sets the replicas of the objects that an autoscaler scales to
// what it left them at, so that applying them changes nothing there. before are
// the objects of the revision in force: an autoscaler that is only among those is
// about to be deleted, and one that is only among the objects about to begin. It
// says what it kept.
func (f Finder) KeepReplicas(ctx context.Context, before, objects []*unstructured.Unstructured) ([]string, error) {
	s := f.scalers(before, objects)
	var kept []string
	for _, object := range objects {
		replicas, found, err := s.replicas(ctx, object)
		if err != nil {
			return nil, fmt.Errorf("replicas of %s %s: %w", object.GetKind(), object.GetName(), err)
		}
		wanted, set, _ := unstructured.NestedFieldNoCopy(object.Object, "spec", "replicas")
		if !found || set && fmt.Sprint(wanted) == fmt.Sprint(replicas) {
			continue
		}
		if err := unstructured.SetNestedField(object.Object, replicas, "spec", "replicas"); err != nil {
			return nil, fmt.Errorf("replicas of %s %s: %w", object.GetKind(), object.GetName(), err)
		}
		kept = append(kept, fmt.Sprintf("%s %s keeps its %d replicas: it is autoscaled", object.GetKind(), object.GetName(), replicas))
	}
	return kept, nil
}

// scaledDown reports a Deployment that a Canary of Flagger or a Rollout of Argo
// Rollouts among the objects has its pods' template of. Their controllers scale it
// down and up as they go.
func (s *scalers) scaledDown(o *unstructured.Unstructured) bool {
	return slices.ContainsFunc(s.stepwise, func(by *unstructured.Unstructured) bool {
		t := targets{refs: []ref{refOf(by, "targetRef"), refOf(by, "workloadRef")}}
		return s.NamespaceOf(by) == s.NamespaceOf(o) && t.names(o)
	})
}

// Scaled is an object whose replicas are up to an autoscaler.
type Scaled struct {
	APIVersion, Kind, Name string
	// Object is the object's content, and Replicas what it was left at on the
	// cluster; nil when it is not there yet.
	Object   map[string]any
	Replicas *int64
}

// Scaled are those of the objects that an autoscaler scales, each once, whether it
// is on the cluster or among the objects.
func (f Finder) Scaled(ctx context.Context, objects []*unstructured.Unstructured) ([]Scaled, error) {
	s := f.scalers(nil, objects)
	all := ScaledBy(objects)
	for _, object := range objects {
		replicas, found, err := s.replicas(ctx, object)
		if err != nil {
			return nil, fmt.Errorf("replicas of %s %s: %w", object.GetKind(), object.GetName(), err)
		}
		i := slices.IndexFunc(all, func(s Scaled) bool { return s.Kind == object.GetKind() && s.Name == object.GetName() })
		if found && i < 0 {
			i, all = len(all), append(all, scaled(object))
		}
		if found {
			all[i].Replicas = &replicas
		}
	}
	return all, nil
}

// ScaledBy are those of the objects that an autoscaler among them scales. It asks
// no cluster.
func ScaledBy(objects []*unstructured.Unstructured) []Scaled {
	var t targets
	t.add(Finder{}.scalers(nil, objects).own)
	var all []Scaled
	for _, object := range objects {
		known := slices.ContainsFunc(all, func(s Scaled) bool { return s.Kind == object.GetKind() && s.Name == object.GetName() })
		if t.names(object) && !known {
			all = append(all, scaled(object))
		}
	}
	return all
}

func scaled(o *unstructured.Unstructured) Scaled {
	return Scaled{APIVersion: o.GetAPIVersion(), Kind: o.GetKind(), Name: o.GetName(), Object: o.Object}
}

// scalers knows what is autoscaled. It lists each namespace once, and is safe for
// use by several goroutines.
type scalers struct {
	Finder
	// own are the autoscalers among the objects, gone those that are deleted.
	own, gone []*unstructured.Unstructured
	// stepwise are the Canaries and Rollouts among the objects.
	stepwise []*unstructured.Unstructured

	mu    sync.Mutex
	known map[string]targets
}

// targets are what the autoscalers of a namespace scale. blind is true when they
// may not be listed.
type targets struct {
	refs  []ref
	blind bool
}

type ref struct{ group, kind, name string }

func (f Finder) scalers(before, objects []*unstructured.Unstructured) *scalers {
	s := &scalers{Finder: f, known: map[string]targets{}}
	for _, o := range objects {
		if isAutoscaler(o) {
			s.own = append(s.own, o)
		}
		if kind := o.GroupVersionKind().GroupKind().String(); kind == "Canary.flagger.app" || kind == "Rollout.argoproj.io" {
			s.stepwise = append(s.stepwise, o)
		}
	}
	for _, o := range before {
		if isAutoscaler(o) && !slices.ContainsFunc(s.own, f.sameAs(o)) {
			s.gone = append(s.gone, o)
		}
	}
	return s
}

func isAutoscaler(o *unstructured.Unstructured) bool {
	group := o.GroupVersionKind().Group
	return group == "autoscaling" && o.GetKind() == "HorizontalPodAutoscaler" || group == "keda.sh" && o.GetKind() == "ScaledObject"
}

func (f Finder) sameAs(a *unstructured.Unstructured) func(*unstructured.Unstructured) bool {
	return func(b *unstructured.Unstructured) bool { return f.Key(a) == f.Key(b) }
}

// replicas are those that an autoscaler left the object at; found is false when
// none scales it, or it does not exist yet.
func (s *scalers) replicas(ctx context.Context, object *unstructured.Unstructured) (replicas int64, found bool, err error) {
	t, err := s.in(ctx, s.NamespaceOf(object))
	named, kind := t.names(object), object.GroupVersionKind().GroupKind()
	scalable := kind.Group == "apps" && slices.Contains([]string{"Deployment", "StatefulSet", "ReplicaSet"}, kind.Kind)
	if err != nil || !named && !scalable {
		return 0, false, err
	}
	resource, _, err := s.Resource(object)
	if meta.IsNoMatchError(err) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	live, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return 0, false, nil
	}
	if err != nil || !named && !t.owns(live) {
		return 0, false, err
	}
	return unstructured.NestedInt64(live.Object, "spec", "replicas")
}

// in lists what is autoscaled in a namespace.
func (s *scalers) in(ctx context.Context, namespace string) (targets, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t, ok := s.known[namespace]; ok {
		return t, nil
	}
	var t targets
	t.add(slices.DeleteFunc(slices.Clone(s.own), func(o *unstructured.Unstructured) bool { return s.NamespaceOf(o) != namespace }))
	for _, resource := range autoscalers {
		list, err := s.Dynamic.Resource(resource).Namespace(namespace).List(ctx, metav1.ListOptions{})
		switch {
		case apierrors.IsForbidden(err):
			t.blind = true
		case err != nil && !apierrors.IsNotFound(err):
			return targets{}, fmt.Errorf("list %s of namespace %s: %w", resource.Resource, namespace, err)
		case err == nil:
			for _, o := range list.Items {
				if !slices.ContainsFunc(s.gone, s.sameAs(&o)) {
					t.add([]*unstructured.Unstructured{&o})
				}
			}
		}
	}
	s.known[namespace] = t
	return t, nil
}

func (t *targets) add(scalers []*unstructured.Unstructured) {
	for _, o := range scalers {
		r := refOf(o, "scaleTargetRef")
		if r.kind == "" {
			r.kind = "Deployment" // the default of KEDA
		}
		t.refs = append(t.refs, r)
	}
}

// refOf is the object that a field of the spec refers to.
func refOf(o *unstructured.Unstructured, field string) ref {
	named, _, _ := unstructured.NestedMap(o.Object, "spec", field)
	text := func(key string) string { value, _ := named[key].(string); return value }
	group, _, _ := strings.Cut(text("apiVersion"), "/")
	return ref{group, text("kind"), text("name")}
}

func (t targets) names(o *unstructured.Unstructured) bool {
	return slices.ContainsFunc(t.refs, func(r ref) bool {
		return r.kind == o.GetKind() && r.name == o.GetName() && (r.group == "" || r.group == o.GroupVersionKind().Group)
	})
}

// otherScaler is how autoscalers that are neither of Kubernetes nor have an
// object that is known here call themselves.
var otherScaler = regexp.MustCompile(`(?i)autoscal|keda`)

// owns reports that the replicas were last set by an autoscaler, as the object's
// managedFields have it. That the HorizontalPodAutoscaler of old left them so only
// counts where it cannot be seen whether there still is one.
func (t targets) owns(live *unstructured.Unstructured) bool {
	return slices.ContainsFunc(live.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool {
		return e.Subresource == "scale" && e.FieldsV1 != nil && strings.Contains(e.FieldsV1.GetRawString(), `"f:replicas"`) &&
			(t.blind && e.Manager == "kube-controller-manager" || otherScaler.MatchString(e.Manager))
	})
}
