package rollout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// Status says how far a workload is.
type Status struct {
	// Ready is true when the workload runs completely in its present revision
	// and no pod of an old one is left; for a Job that it is complete.
	Ready bool
	// ReadyPods of Pods are ready.
	ReadyPods, Pods int64
	// Message says what is being waited for.
	Message string
	// Suspects is what keeps the workload from becoming ready, perhaps for good.
	Suspects []Problem
	// Held is why the workload's own controller does not go on, where it was told so.
	Held *Hold
	// taken is true when the controller has taken up the present change.
	taken bool
}

// StatusOf judges a snapshot.
func StatusOf(s Snapshot) (Status, error) {
	if s.Object == nil {
		return Status{Message: s.Workload.String() + " does not exist"}, nil
	}
	if s.progressive() {
		return progressiveStatus(s), nil
	}
	result, err := status.Compute(s.Object)
	if err != nil {
		return Status{}, fmt.Errorf("%s: %w", s.Workload, err)
	}
	if s.Resource != nil {
		return statusOfObject(s, result), nil
	}
	st := Status{Message: result.Message, Pods: desired(s), Ready: result.Status == status.CurrentStatus}
	for _, pod := range s.Current {
		if podReady(pod) {
			st.ReadyPods++
		}
	}
	strategy, _, _ := unstructured.NestedString(s.Object.Object, "spec", "updateStrategy", "type")
	st.Ready = st.Ready && succeeded(s) && (len(s.Old) == 0 || strategy == "OnDelete") // which keeps old pods
	if st.Ready {
		return st, nil
	}
	if !observed(s.Object) {
		// Which pods are the present ones is not known yet: those that the
		// controller is about to replace may be beyond help.
		return st, nil
	}
	st.Suspects = suspects(s)
	if len(st.Suspects) == 0 && (result.Status == status.FailedStatus || s.Kind == "Pod" && !succeeded(s)) {
		st.Suspects = []Problem{failed(s, result.Message)}
	}
	if len(st.Suspects) > 0 {
		st.Message = st.Suspects[0].seen()
	} else if blocked := unschedulable(s); blocked != "" {
		st.Message = blocked
	}
	return st, nil
}

// statusOfObject judges an object that runs no pods.
func statusOfObject(s Snapshot, result *status.Result) Status {
	st := Status{Message: result.Message, Ready: s.holds(s.Object, result.Status == status.CurrentStatus)}
	if st.Message == "" || result.Status == status.CurrentStatus {
		st.Message = "waiting for " + string(s.Policy)
	}
	if st.Ready {
		st.Message = "ready"
	} else if result.Status == status.FailedStatus {
		st.Suspects = []Problem{{Workload: s.Workload, Reason: stated, Message: result.Message, Grace: configGrace}}
	}
	return st
}

// succeeded holds back what kstatus takes for ready: a Job that still runs, and
// a pod that failed.
func succeeded(s Snapshot) bool {
	switch s.Kind {
	case "Job":
		suspended, _, _ := unstructured.NestedBool(s.Object.Object, "spec", "suspend")
		return suspended || conditionOf(s.Object, "Complete").Status == corev1.ConditionTrue
	case "Pod":
		phase, _, _ := unstructured.NestedString(s.Object.Object, "status", "phase")
		return phase != string(corev1.PodFailed)
	}
	return true
}

func desired(s Snapshot) int64 {
	if s.Kind == kindCanary && s.progressive() {
		if primary := s.primary(); primary != nil && primary.Spec.Replicas != nil {
			return int64(*primary.Spec.Replicas)
		}
		return int64(len(s.Current))
	}
	fields := map[string][]string{
		"Deployment": {"spec", "replicas"}, kindRollout: {"spec", "replicas"}, "StatefulSet": {"spec", "replicas"},
		"DaemonSet": {"status", "desiredNumberScheduled"}, "Job": {"spec", "completions"},
	}
	if n, ok, err := unstructured.NestedInt64(s.Object.Object, fields[s.Kind]...); ok && err == nil && s.Kind != "Pod" {
		return n
	}
	return 1
}

// conditionOf is a condition of the object's status; the zero value if it is absent.
func conditionOf(object *unstructured.Unstructured, kind string) status.BasicCondition {
	found, err := status.GetObjectWithConditions(object.Object)
	if err != nil {
		return status.BasicCondition{} // the status is not one of Kubernetes's kind
	}
	i := slices.IndexFunc(found.Status.Conditions, func(c status.BasicCondition) bool { return c.Type == kind })
	if i < 0 {
		return status.BasicCondition{}
	}
	return found.Status.Conditions[i]
}

func podReady(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// unschedulable describes a pod that has no node, or returns "".
func unschedulable(s Snapshot) string {
	for _, pod := range s.Current {
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
				return fmt.Sprintf("pod %s has no node: %s", pod.Name, c.Message)
			}
		}
	}
	return ""
}

// Snapshot is a workload and its pods as seen at one moment.
type Snapshot struct {
	Workload
	// Object is the workload; nil when it does not exist.
	Object *unstructured.Unstructured
	// Current are the pods of the workload's present revision, Old those of
	// earlier ones. Pods that are being deleted are in neither, nor, but for a
	// Job, pods that have ended, such as evicted ones. Those of a Canary are the
	// pods of its primary Deployment.
	Current, Old []*corev1.Pod

	revisions revisions
}

// revisions identifies the pods of a workload's current revision.
type revisions struct {
	// deployments are those that a Rollout or a Canary refers to, by name.
	deployments map[string]*appsv1.Deployment
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
		replaced := isGoing(pod) && w.Kind != "Job" && w.Kind != "Pod"
		if pod.DeletionTimestamp != nil || replaced || !r.owns(w.Kind, object.GetUID(), pod) {
			continue
		}
		if current(pod) {
			s.Current = append(s.Current, pod)
		} else {
			s.Old = append(s.Old, pod)
		}
	}
	return s.sorted()
}

// sorted is the snapshot with its pods by name.
func (s Snapshot) sorted() Snapshot {
	byName := func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(s.Current, byName)
	slices.SortFunc(s.Old, byName)
	return s
}

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

// current returns a test for pods of the workload's current revision.
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

// latest is the label value of a DaemonSet's current revision.
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
