package rollout

import (
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Snapshot is a workload and its pods as seen at one moment.
type Snapshot struct {
	Workload
	// Object is the workload; nil when it does not exist.
	Object *unstructured.Unstructured
	// Current are the pods of the workload's present revision, Old those of
	// earlier ones. Pods that are being deleted are in neither, nor, but for a
	// Job, pods that have ended, such as evicted ones.
	Current, Old []*corev1.Pod
}

// revisions tells which of a workload's pods are of its present revision.
type revisions struct {
	replicaSets []*appsv1.ReplicaSet
	controllers []*appsv1.ControllerRevision
}

// deploymentRevision is the annotation by which the Deployment controller
// numbers a Deployment and its ReplicaSets.
const deploymentRevision = "deployment.kubernetes.io/revision"

// newSnapshot sorts the pods that the workload owns into present and old.
func newSnapshot(w Workload, object *unstructured.Unstructured, r revisions, pods []*corev1.Pod) Snapshot {
	s := Snapshot{Workload: w, Object: object}
	if object == nil {
		return s
	}
	current := r.current(w.Kind, object)
	for _, pod := range pods {
		if pod.DeletionTimestamp != nil || replaced(w.Kind, pod) || !r.owns(w.Kind, object.GetUID(), pod) {
			continue
		}
		if current(pod) {
			s.Current = append(s.Current, pod)
		} else {
			s.Old = append(s.Old, pod)
		}
	}
	byName := func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(s.Current, byName)
	slices.SortFunc(s.Old, byName)
	return s
}

// replaced reports a pod that has ended and whose controller makes another.
func replaced(kind string, pod *corev1.Pod) bool {
	ended := pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
	return ended && kind != "Job" && kind != "Pod"
}

// owns reports whether the pod is the workload's, by its owner references.
func (r revisions) owns(kind string, uid types.UID, pod *corev1.Pod) bool {
	if kind == "Pod" {
		return pod.UID == uid
	}
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return false
	}
	if kind != "Deployment" {
		return owner.UID == uid
	}
	return slices.ContainsFunc(r.replicaSets, func(rs *appsv1.ReplicaSet) bool {
		return rs.UID == owner.UID && isControlledBy(rs, uid)
	})
}

// current is the test for pods of the workload's present revision.
func (r revisions) current(kind string, object *unstructured.Unstructured) func(*corev1.Pod) bool {
	switch kind {
	case "Deployment":
		revision := object.GetAnnotations()[deploymentRevision]
		return func(pod *corev1.Pod) bool {
			owner := metav1.GetControllerOf(pod)
			return slices.ContainsFunc(r.replicaSets, func(rs *appsv1.ReplicaSet) bool {
				return rs.UID == owner.UID && rs.Annotations[deploymentRevision] == revision
			})
		}
	case "StatefulSet":
		revision, _, _ := unstructured.NestedString(object.Object, "status", "updateRevision")
		return hasRevision(revision)
	case "DaemonSet":
		return hasRevision(r.latest(object.GetUID()))
	}
	return func(*corev1.Pod) bool { return true }
}

// latest is the name of a DaemonSet's present revision, as its pods carry it.
func (r revisions) latest(uid types.UID) string {
	var hash string
	var number int64
	for _, c := range r.controllers {
		if isControlledBy(c, uid) && c.Revision > number {
			hash, number = c.Labels[appsv1.ControllerRevisionHashLabelKey], c.Revision
		}
	}
	return hash
}

func hasRevision(revision string) func(*corev1.Pod) bool {
	return func(pod *corev1.Pod) bool {
		return pod.Labels[appsv1.ControllerRevisionHashLabelKey] == revision
	}
}

func isControlledBy(object metav1.Object, uid types.UID) bool {
	owner := metav1.GetControllerOf(object)
	return owner != nil && owner.UID == uid
}

// toUnstructured converts a typed object, which lost its kind on the way.
func toUnstructured(kind string, object any) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetKind(kind)
	u.SetAPIVersion(strings.TrimPrefix(groups[kind]+"/v1", "/"))
	return u, nil
}

func decode(from map[string]any, into any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(from, into)
}

// restarts is "3 restarts", for a message.
func restarts(n int32) string {
	if n == 1 {
		return "1 restart"
	}
	return strconv.Itoa(int(n)) + " restarts"
}
