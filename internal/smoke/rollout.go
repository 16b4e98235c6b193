package smoke

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The label and the annotation by which a workload is known to be of a release:
// the first is a convention of charts, the second is written by Helm itself.
const (
	instanceLabel     = "app.kubernetes.io/instance"
	releaseAnnotation = "meta.helm.sh/release-name"
)

// workloadKinds are the resources that can be rolled out, with the names that
// kubectl takes for them; the first one is ours.
var workloadKinds = []struct {
	group, resource string
	names           []string
}{
	{"apis/apps/v1", "deployments", []string{"deployment", "deployments", "deploy"}},
	{"apis/apps/v1", "statefulsets", []string{"statefulset", "statefulsets", "sts"}},
	{"apis/apps/v1", "daemonsets", []string{"daemonset", "daemonsets", "ds"}},
	{"apis/argoproj.io/v1alpha1", "rollouts", []string{kindRollout, "rollouts", "ro"}},
	{"apis/flagger.app/v1beta1", "canaries", []string{kindCanary, "canaries", "cd"}},
}

type rolloutProbe struct {
	app     string
	kind    int // index of workloadKinds, where name is set
	name    string
	cluster *cluster
}

// newRolloutProbe is for the workload, kind/name, or for all of the app when it is empty.
func newRolloutProbe(app, workload string, cluster *cluster) (rolloutProbe, error) {
	p := rolloutProbe{app: app, cluster: cluster}
	if workload == "" {
		return p, nil
	}
	kind, name, _ := strings.Cut(workload, "/")
	kind, _, _ = strings.Cut(strings.ToLower(kind), ".")
	p.name = name
	for i, known := range workloadKinds {
		if slices.Contains(known.names, kind) && name != "" && !strings.Contains(name, "/") {
			p.kind = i
			return p, nil
		}
	}
	return p, fmt.Errorf("workload: %q is not deployment/NAME, statefulset/NAME, daemonset/NAME, rollout/NAME or canary/NAME", workload)
}

func (p rolloutProbe) attempt(ctx context.Context) (string, error) {
	found, err := p.find(ctx)
	if err != nil {
		return "", err
	}
	var ready, waiting []string
	for _, w := range found {
		if reason := w.waitsFor(); reason != "" {
			waiting = append(waiting, w.id()+": "+reason)
			continue
		}
		if w.kind == kindCanary { // its pods are those of a Deployment
			ready = append(ready, w.id())
			continue
		}
		ready = append(ready, fmt.Sprintf("%s %d/%d", w.id(), w.available(), w.desired()))
	}
	if len(waiting) > 0 {
		return "", errors.New(strings.Join(waiting, "; "))
	}
	return strings.Join(ready, ", "), nil
}

func (p rolloutProbe) find(ctx context.Context) ([]workload, error) {
	if p.name != "" {
		w := workload{kind: workloadKinds[p.kind].names[0]}
		err := p.cluster.get(ctx, workloadKinds[p.kind].group, workloadKinds[p.kind].resource+"/"+p.name, nil, &w)
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("no %s/%s in namespace %s", w.kind, p.name, p.cluster.Namespace)
		}
		return []workload{w}, err
	}
	var found []workload
	for _, kind := range workloadKinds {
		var list struct {
			Items []workload `json:"items"`
		}
		err := p.cluster.get(ctx, kind.group, kind.resource, nil, &list)
		if stepwise(kind.names[0]) && (apierrors.IsNotFound(err) || apierrors.IsForbidden(err)) {
			continue // the cluster has no such kind, or its workloads are not of interest here
		}
		if err != nil {
			return nil, err
		}
		for _, w := range list.Items {
			if w.of(p.app) {
				w.kind = kind.names[0]
				found = append(found, w)
			}
		}
	}
	if found, err := p.withPrimaries(ctx, found); err != nil || len(found) > 0 {
		return found, err
	}
	return nil, fmt.Errorf("no workload of release %s in namespace %s: none has the label %s or the annotation %s with that value",
		p.app, p.cluster.Namespace, instanceLabel, releaseAnnotation)
}

// workload is what Deployments, StatefulSets, DaemonSets, and the Rollouts and
// Canaries of others have in common, and the little in which they differ.
type workload struct {
	kind     string
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		Replicas       *int                   `json:"replicas"`
		Selector       metav1.LabelSelector   `json:"selector"`
		Template       corev1.PodTemplateSpec `json:"template"`
		Paused         bool                   `json:"paused"`
		TargetRef      targetRef              `json:"targetRef"`
		UpdateStrategy struct {
			Type          string `json:"type"`
			RollingUpdate struct {
				Partition int `json:"partition"`
			} `json:"rollingUpdate"`
		} `json:"updateStrategy"`
	} `json:"spec"`
	Status struct {
		ObservedGeneration generation         `json:"observedGeneration"`
		Conditions         []metav1.Condition `json:"conditions"`

		// Of Deployments and StatefulSets.
		Replicas          int    `json:"replicas"`
		UpdatedReplicas   int    `json:"updatedReplicas"`
		AvailableReplicas int    `json:"availableReplicas"`
		CurrentRevision   string `json:"currentRevision"`
		UpdateRevision    string `json:"updateRevision"`

		// Of Rollouts and Canaries.
		Phase          string `json:"phase"`
		Message        string `json:"message"`
		CurrentPodHash string `json:"currentPodHash"`
		StableRS       string `json:"stableRS"`

		// Of DaemonSets.
		DesiredNumberScheduled int `json:"desiredNumberScheduled"`
		UpdatedNumberScheduled int `json:"updatedNumberScheduled"`
		NumberAvailable        int `json:"numberAvailable"`
	} `json:"status"`
}

func (w workload) id() string { return w.kind + "/" + w.Metadata.Name }

func (w workload) of(release string) bool {
	return w.Metadata.Labels[instanceLabel] == release || w.Metadata.Annotations[releaseAnnotation] == release
}

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
	case w.kind != kindCanary && int64(w.Status.ObservedGeneration) < w.Metadata.Generation:
		return "the newest change is not taken up yet"
	case stepwise(w.kind):
		return w.phase()
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
