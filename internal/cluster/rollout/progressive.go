package rollout

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/client-go/kubernetes"

	"github.com/nationtech/harmony/internal/cluster/manifest"
)

// The kinds whose own controllers roll out step by step: the Rollout of Argo
// Rollouts, which runs its pods itself, and the Canary of Flagger, which copies a
// Deployment that passed its analysis to another one.
const (
	kindRollout = "Rollout"
	kindCanary  = "Canary"
)

// primarySuffix is what Flagger adds to the name of a Deployment, and to the value
// of the label that its pods are selected by, for the copy that serves.
const primarySuffix = "-primary"

// argoGroup is the API group of Argo Rollouts.
const argoGroup = "argoproj.io"

func isProgressive(kind schema.GroupVersionKind) bool {
	return kind.Group == argoGroup && kind.Kind == kindRollout || kind.Group == "flagger.app" && kind.Kind == kindCanary
}

// progressive reports a workload of one of these kinds.
func (w Workload) progressive() bool { return w.Resource != nil && w.Selector != nil }

// Progressive are the Rollouts and the Canaries among the objects, as far as the
// policies say nothing else of them. A kind that the server does not know is left
// out: whoever applies it says more.
func Progressive(ctx context.Context, objects []*unstructured.Unstructured, space manifest.Space, policies Policies) ([]Workload, error) {
	var found []Workload
	for _, object := range objects {
		kind := object.GroupVersionKind()
		if _, told := policies.named(kind); told || !isProgressive(kind) {
			continue
		}
		resource, namespace, err := space.Resource(object)
		if meta.IsNoMatchError(err) {
			continue
		}
		w := Workload{Kind: kind.Kind, Namespace: namespace, Name: object.GetName(), Resource: resource, target: targetOf(object)}
		if err == nil {
			w.Selector, err = w.selects(ctx, object, objects, space)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w, err)
		}
		found = append(found, w)
	}
	return found, nil
}

// targetOf is the name of the Deployment that a Canary or a Rollout has its pods'
// template of, or "".
func targetOf(object *unstructured.Unstructured) string {
	field := map[string]string{kindRollout: "workloadRef", kindCanary: "targetRef"}[object.GetKind()]
	ref, _, _ := unstructured.NestedStringMap(object.Object, "spec", field)
	if ref["kind"] != "Deployment" {
		return ""
	}
	return ref["name"]
}

// selects is how the pods of the workload are selected: by the object itself, or
// as the Deployment does that it refers to. That one is among the objects of the
// release or on the cluster; where it is not there yet, all pods are looked at.
func (w Workload) selects(ctx context.Context, object *unstructured.Unstructured, objects []*unstructured.Unstructured, space manifest.Space) (labels.Selector, error) {
	if _, own, _ := unstructured.NestedMap(object.Object, "spec", "selector"); own {
		return selectorOf(object)
	}
	if w.target == "" {
		return labels.Nothing(), nil
	}
	i := slices.IndexFunc(objects, func(o *unstructured.Unstructured) bool {
		return o.GetKind() == "Deployment" && o.GetName() == w.target && space.NamespaceOf(o) == w.Namespace
	})
	var deployment *unstructured.Unstructured
	if i >= 0 {
		deployment = objects[i]
	} else {
		found, err := space.Dynamic.Resource(appsv1.SchemeGroupVersion.WithResource("deployments")).Namespace(w.Namespace).Get(ctx, w.target, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return labels.Everything(), nil
		}
		if err != nil {
			return nil, err
		}
		deployment = found
	}
	if w.Kind == kindRollout {
		return selectorOf(deployment)
	}
	return withPrimary(deployment)
}

// withPrimary selects the pods of a Deployment and those of Flagger's copy of it:
// of their labels one differs, and Flagger's settings say which.
func withPrimary(deployment *unstructured.Unstructured) (labels.Selector, error) {
	own, _, err := unstructured.NestedStringMap(deployment.Object, "spec", "selector", "matchLabels")
	if err != nil {
		return nil, fmt.Errorf("deployment/%s: spec.selector: %w", deployment.GetName(), err)
	}
	selector := labels.NewSelector()
	for key, value := range own {
		either, err := labels.NewRequirement(key, selection.In, []string{value, value + primarySuffix})
		if err != nil {
			return nil, fmt.Errorf("deployment/%s: spec.selector: %w", deployment.GetName(), err)
		}
		selector = selector.Add(*either)
	}
	return selector, nil
}

// progressiveSources are the collections for a Rollout or a Canary: itself, the
// Deployments that it refers to, and their pods.
func progressiveSources(client kubernetes.Interface, w Workload, itself source, pods source) []source {
	apps := client.AppsV1().RESTClient()
	all := []source{itself, {client: apps, resource: "replicasets", example: &appsv1.ReplicaSet{}, tweak: pods.tweak}, pods}
	var deployments []string
	switch {
	case w.target != "" && w.Kind == kindCanary:
		deployments = []string{w.target, w.target + primarySuffix}
	case w.target != "":
		deployments = []string{w.target}
	}
	for _, name := range deployments {
		all = append(all, source{client: apps, resource: "deployments", example: &appsv1.Deployment{}, tweak: func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", name).String()
		}})
	}
	return all
}

// primary is Flagger's copy of the Deployment that a Canary refers to, or nil if Flagger
// has not made it yet.
func (s Snapshot) primary() *appsv1.Deployment {
	return s.revisions.deployments[s.target+primarySuffix]
}

// progressiveSnapshot sorts the pods of a Rollout or of a Canary's primary
// Deployment into present and old. Those that Argo Rollouts keeps of a revision
// that is neither the stable nor the present one, to go back fast, take no traffic
// and are in neither.
func progressiveSnapshot(w Workload, object *unstructured.Unstructured, r revisions, pods []*corev1.Pod) Snapshot {
	s := Snapshot{Workload: w, Object: object, revisions: r}
	for _, pod := range pods {
		rs := r.replicaSetOf(pod)
		if rs == nil || isGoing(pod) {
			continue
		}
		switch {
		case w.Kind == kindCanary && (s.primary() == nil || !isControlledBy(rs, s.primary().UID)):
		case w.Kind == kindRollout && !isControlledBy(rs, object.GetUID()):
		case w.Kind == kindCanary && rs.Annotations[deploymentRevision] == s.primary().Annotations[deploymentRevision],
			w.Kind == kindRollout && podHash(pod) == statusText(object, "currentPodHash"):
			s.Current = append(s.Current, pod)
		case w.Kind == kindRollout && rs.Annotations[scaleDownDeadline] != "" && podHash(pod) != statusText(object, "stableRS"):
		default:
			s.Old = append(s.Old, pod)
		}
	}
	return s.sorted()
}

func (r revisions) replicaSetOf(pod *corev1.Pod) *appsv1.ReplicaSet {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return nil
	}
	i := slices.IndexFunc(r.replicaSets, func(rs *appsv1.ReplicaSet) bool { return rs.UID == owner.UID })
	if i < 0 {
		return nil
	}
	return r.replicaSets[i]
}

// isGoing reports a pod that is being deleted or has ended.
func isGoing(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
}

// statusText is a text of an object's status, or "".
func statusText(object *unstructured.Unstructured, path ...string) string {
	text, _, _ := unstructured.NestedString(object.Object, append([]string{"status"}, path...)...)
	return text
}

// progressiveStatus judges a Rollout or a Canary.
func progressiveStatus(s Snapshot) Status {
	st := Status{Pods: desired(s)}
	for _, pod := range s.Current {
		if podReady(pod) {
			st.ReadyPods++
		}
	}
	if s.Kind == kindRollout {
		s.judgeRollout(&st)
	} else {
		s.judgeCanary(&st)
	}
	if st.Ready || !st.taken {
		return st
	}
	// Pods say more than their controller does.
	if pods := suspects(s); len(pods) > 0 && len(st.Suspects) == 0 {
		st.Suspects, st.Held = pods, nil
		st.Message = pods[0].seen()
	} else if blocked := unschedulable(s); blocked != "" && len(st.Suspects) == 0 && st.Held == nil {
		st.Message = blocked
	}
	return st
}
