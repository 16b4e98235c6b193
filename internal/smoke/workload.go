package smoke

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// workload is what Deployments, StatefulSets and DaemonSets have in common, and
// the little in which they differ.
type workload struct {
	kind     string
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Replicas       *int `json:"replicas"`
		Paused         bool `json:"paused"`
		UpdateStrategy struct {
			Type          string `json:"type"`
			RollingUpdate struct {
				Partition int `json:"partition"`
			} `json:"rollingUpdate"`
		} `json:"updateStrategy"`
	} `json:"spec"`
	Status struct {
		ObservedGeneration int64              `json:"observedGeneration"`
		Conditions         []metav1.Condition `json:"conditions"`

		// Of Deployments and StatefulSets.
		Replicas          int    `json:"replicas"`
		UpdatedReplicas   int    `json:"updatedReplicas"`
		AvailableReplicas int    `json:"availableReplicas"`
		CurrentRevision   string `json:"currentRevision"`
		UpdateRevision    string `json:"updateRevision"`

		// Of DaemonSets.
		DesiredNumberScheduled int `json:"desiredNumberScheduled"`
		UpdatedNumberScheduled int `json:"updatedNumberScheduled"`
		NumberAvailable        int `json:"numberAvailable"`
	} `json:"status"`
}

func (w workload) id() string { return w.kind + "/" + w.Metadata.Name }

// of reports whether the workload is of a release.
func (w workload) of(release string) bool {
	return w.Metadata.Labels[instanceLabel] == release || w.Metadata.Annotations[releaseAnnotation] == release
}

// desired is how many pods there should be.
func (w workload) desired() int {
	switch {
	case w.kind == "daemonset":
		return w.Status.DesiredNumberScheduled
	case w.Spec.Replicas == nil:
		return 1
	}
	return *w.Spec.Replicas
}

// available is how many pods serve, old ones included.
func (w workload) available() int {
	if w.kind == "daemonset" {
		return w.Status.NumberAvailable
	}
	return w.Status.AvailableReplicas
}

// updated is how many pods are of the newest template, and how many should be.
func (w workload) updated() (have, want int) {
	have, want = w.Status.UpdatedReplicas, w.desired()
	if w.kind == "daemonset" {
		have = w.Status.UpdatedNumberScheduled
	}
	if w.kind == "statefulset" {
		want = max(0, want-w.Spec.UpdateStrategy.RollingUpdate.Partition)
	}
	if w.Spec.UpdateStrategy.Type == "OnDelete" {
		want = 0 // whoever deletes pods decides
	}
	return have, want
}

// waitsFor is what is missing to a complete rollout, or "". The rules are those
// of kubectl rollout status.
func (w workload) waitsFor() string {
	have, want := w.updated()
	switch {
	case w.Status.ObservedGeneration < w.Metadata.Generation:
		return "the newest change is not taken up yet"
	case w.Spec.Paused:
		return "the rollout is paused"
	case w.failed() != "":
		return w.failed()
	case have < want:
		return fmt.Sprintf("%d of %d pods updated", have, want)
	case w.old() > 0:
		return fmt.Sprintf("old pods still there: %d", w.old())
	case w.available() < w.desired():
		return fmt.Sprintf("%d of %d pods available", w.available(), w.desired())
	}
	return ""
}

// failed is why the controller has given up, or "".
func (w workload) failed() string {
	for _, c := range w.Status.Conditions {
		if c.Type == "Progressing" && c.Reason == "ProgressDeadlineExceeded" || c.Type == "ReplicaFailure" && c.Status == "True" {
			return c.Message
		}
	}
	return ""
}

// old is how many pods of an earlier template a Deployment still has, or a
// StatefulSet that is to have none.
func (w workload) old() int {
	switch {
	case w.kind == "deployment":
		return max(0, w.Status.Replicas-w.Status.UpdatedReplicas)
	case w.kind == "statefulset" && w.Spec.UpdateStrategy.Type != "OnDelete" &&
		w.Spec.UpdateStrategy.RollingUpdate.Partition == 0 && w.Status.UpdateRevision != w.Status.CurrentRevision:
		return max(1, w.Status.Replicas-w.Status.UpdatedReplicas)
	}
	return 0
}
