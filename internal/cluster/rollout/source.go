package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// source is one collection of objects that a snapshot is made of: of a typed
// client, or of a dynamic one.
type source struct {
	client   rest.Interface
	resource string
	example  runtime.Object
	tweak    func(*metav1.ListOptions)
	dynamic  dynamic.ResourceInterface
}

// sources are the collections for a workload: itself, its pods, and what shows
// the pods' revision.
func sources(client kubernetes.Interface, w Workload) []source {
	byName := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", w.Name).String()
	}
	itself := source{resource: strings.ToLower(w.Kind), example: &unstructured.Unstructured{}, tweak: byName, dynamic: w.Resource}
	if w.Resource != nil && !w.progressive() {
		return []source{itself}
	}
	bySelector := func(o *metav1.ListOptions) { o.LabelSelector = w.Selector.String() }
	apps, batch, core := client.AppsV1().RESTClient(), client.BatchV1().RESTClient(), client.CoreV1().RESTClient()
	pods := source{client: core, resource: "pods", example: &corev1.Pod{}, tweak: bySelector}
	if w.progressive() {
		return progressiveSources(client, w, itself, pods)
	}
	switch w.Kind {
	case "Deployment":
		return []source{
			{client: apps, resource: "deployments", example: &appsv1.Deployment{}, tweak: byName},
			{client: apps, resource: "replicasets", example: &appsv1.ReplicaSet{}, tweak: bySelector}, pods,
		}
	case "StatefulSet":
		return []source{{client: apps, resource: "statefulsets", example: &appsv1.StatefulSet{}, tweak: byName}, pods}
	case "DaemonSet":
		return []source{
			{client: apps, resource: "daemonsets", example: &appsv1.DaemonSet{}, tweak: byName},
			{client: apps, resource: "controllerrevisions", example: &appsv1.ControllerRevision{}, tweak: bySelector}, pods,
		}
	case "Job":
		return []source{{client: batch, resource: "jobs", example: &batchv1.Job{}, tweak: byName}, pods}
	}
	return []source{{client: core, resource: "pods", example: &corev1.Pod{}, tweak: byName}}
}

func (s source) listWatch(namespace string) *cache.ListWatch {
	if s.dynamic != nil {
		return &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
				s.tweak(&o)
				return s.dynamic.List(ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				s.tweak(&o)
				return s.dynamic.Watch(ctx, o)
			},
		}
	}
	return cache.NewFilteredListWatchFromClient(s.client, s.resource, namespace, s.tweak)
}

func (s source) list(ctx context.Context, namespace string) ([]any, error) {
	list, err := s.listWatch(namespace).ListWithContext(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s of namespace %s: %w", s.resource, namespace, err)
	}
	members, err := meta.ExtractList(list)
	if err != nil {
		return nil, err
	}
	objects := make([]any, len(members))
	for i, member := range members {
		objects[i] = member
	}
	return objects, nil
}

// assemble makes a snapshot of the objects of all sources.
func assemble(w Workload, objects []any) (Snapshot, error) {
	r := revisions{deployments: map[string]*appsv1.Deployment{}}
	var pods []*corev1.Pod
	var self any
	for _, object := range objects {
		switch o := object.(type) {
		case *unstructured.Unstructured:
			if !w.progressive() {
				return Snapshot{Workload: w, Object: o}, nil
			}
			self = o
		case *corev1.Pod:
			if w.Kind == "Pod" {
				self = o
			}
			pods = append(pods, o)
		case *appsv1.ReplicaSet:
			r.replicaSets = append(r.replicaSets, o)
		case *appsv1.ControllerRevision:
			r.controllers = append(r.controllers, o)
		case *appsv1.Deployment:
			r.deployments[o.Name] = o
			if w.Kind == "Deployment" {
				self = o
			}
		case *appsv1.StatefulSet, *appsv1.DaemonSet, *batchv1.Job:
			self = o
		}
	}
	if self == nil {
		return newSnapshot(w, nil, r, pods), nil
	}
	if object, ok := self.(*unstructured.Unstructured); ok {
		return progressiveSnapshot(w, object, r, pods), nil
	}
	object, err := toUnstructured(w.Kind, self)
	if err != nil {
		return Snapshot{}, err
	}
	if w.Ignore != "" && string(object.GetUID()) == w.Ignore {
		object = nil
	}
	return newSnapshot(w, object, r, pods), nil
}

// Read takes a snapshot of each workload, in the order given.
func Read(ctx context.Context, client kubernetes.Interface, workloads []Workload) ([]Snapshot, error) {
	group, ctx := errgroup.WithContext(ctx)
	snapshots := make([]Snapshot, len(workloads))
	for i, w := range workloads {
		group.Go(func() (err error) {
			snapshots[i], err = read(ctx, client, w)
			return err
		})
	}
	return snapshots, group.Wait()
}

func read(ctx context.Context, client kubernetes.Interface, w Workload) (Snapshot, error) {
	all := sources(client, w)
	lists := make([][]any, len(all))
	group, ctx := errgroup.WithContext(ctx)
	for i, s := range all {
		group.Go(func() (err error) {
			lists[i], err = s.list(ctx, w.Namespace)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Snapshot{}, err
	}
	return assemble(w, slices.Concat(lists...))
}
