package rollout

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// source is one collection of objects that a snapshot is made of.
type source struct {
	client   rest.Interface
	resource string
	example  runtime.Object
	tweak    func(*metav1.ListOptions)
}

// sources are the collections for a workload: itself, its pods, and what tells
// the pods' revision.
func sources(client kubernetes.Interface, w Workload) []source {
	byName := func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", w.Name).String()
	}
	bySelector := func(o *metav1.ListOptions) { o.LabelSelector = w.Selector.String() }
	apps, batch, core := client.AppsV1().RESTClient(), client.BatchV1().RESTClient(), client.CoreV1().RESTClient()
	pods := source{core, "pods", &corev1.Pod{}, bySelector}
	switch w.Kind {
	case "Deployment":
		return []source{
			{apps, "deployments", &appsv1.Deployment{}, byName},
			{apps, "replicasets", &appsv1.ReplicaSet{}, bySelector}, pods,
		}
	case "StatefulSet":
		return []source{{apps, "statefulsets", &appsv1.StatefulSet{}, byName}, pods}
	case "DaemonSet":
		return []source{
			{apps, "daemonsets", &appsv1.DaemonSet{}, byName},
			{apps, "controllerrevisions", &appsv1.ControllerRevision{}, bySelector}, pods,
		}
	case "Job":
		return []source{{batch, "jobs", &batchv1.Job{}, byName}, pods}
	}
	return []source{{core, "pods", &corev1.Pod{}, byName}}
}

func (s source) listWatch(namespace string) *cache.ListWatch {
	return cache.NewFilteredListWatchFromClient(s.client, s.resource, namespace, s.tweak)
}

// list reads the collection once.
func (s source) list(ctx context.Context, namespace string) ([]any, error) {
	var options metav1.ListOptions
	s.tweak(&options)
	list, err := s.client.Get().Namespace(namespace).Resource(s.resource).
		VersionedParams(&options, metav1.ParameterCodec).Do(ctx).Get()
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

// assemble makes the snapshot out of the objects of all sources.
func assemble(w Workload, objects []any) (Snapshot, error) {
	var r revisions
	var pods []*corev1.Pod
	var self any
	for _, object := range objects {
		switch o := object.(type) {
		case *corev1.Pod:
			if w.Kind == "Pod" {
				self = o
			}
			pods = append(pods, o)
		case *appsv1.ReplicaSet:
			r.replicaSets = append(r.replicaSets, o)
		case *appsv1.ControllerRevision:
			r.controllers = append(r.controllers, o)
		case *appsv1.Deployment, *appsv1.StatefulSet, *appsv1.DaemonSet, *batchv1.Job:
			self = o
		}
	}
	if self == nil {
		return newSnapshot(w, nil, r, pods), nil
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
