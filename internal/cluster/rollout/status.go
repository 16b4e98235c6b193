package rollout

import (
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
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
}

// StatusOf judges a snapshot.
func StatusOf(s Snapshot) (Status, error) {
	if s.Object == nil {
		return Status{Message: s.Workload.String() + " does not exist"}, nil
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
	st.Ready = st.Ready && succeeded(s) && (len(s.Old) == 0 || keepsOld(s))
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
		return suspended || condition(s.Object, "Complete") == "True"
	case "Pod":
		return phase(s.Object) != string(corev1.PodFailed)
	}
	return true
}

func phase(pod *unstructured.Unstructured) string {
	phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
	return phase
}

// keepsOld reports a workload that is told to leave its old pods alone.
func keepsOld(s Snapshot) bool {
	strategy, _, _ := unstructured.NestedString(s.Object.Object, "spec", "updateStrategy", "type")
	return strategy == "OnDelete"
}

// desired is how many pods there should be.
func desired(s Snapshot) int64 {
	fields := map[string][]string{
		"Deployment": {"spec", "replicas"}, "StatefulSet": {"spec", "replicas"},
		"DaemonSet": {"status", "desiredNumberScheduled"}, "Job": {"spec", "completions"},
	}
	if n, ok, err := unstructured.NestedInt64(s.Object.Object, fields[s.Kind]...); ok && err == nil && s.Kind != "Pod" {
		return n
	}
	return 1
}

// condition is the status of a condition: True, False, Unknown or "".
func condition(object *unstructured.Unstructured, kind string) string {
	value, _ := conditionOf(object, kind)["status"].(string)
	return value
}

func conditionOf(object *unstructured.Unstructured, kind string) map[string]any {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == kind {
			return c
		}
	}
	return nil
}

// podReady reports a pod that is ready, or that has done its work.
func podReady(pod *corev1.Pod) bool {
	if pod.Status.Phase == corev1.PodSucceeded {
		return true
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// unschedulable says which pod has no node, or "".
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
