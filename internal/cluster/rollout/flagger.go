package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// judgeCanary judges a Canary by its phase. Flagger looks at the Deployment only
// once in the interval of the analysis: until then the phase is that of what was
// there before, so that the primary Deployment is compared with it too.
func (s Snapshot) judgeCanary(st *Status) {
	phase := statusText(s.Object, "phase")
	st.taken = phase != ""
	suspended, _, _ := unstructured.NestedBool(s.Object.Object, "spec", "suspend")
	promoted := s.promoted()
	switch phase {
	case "Initialized", "Succeeded", "Failed":
		switch {
		case promoted && st.ReadyPods >= st.Pods && len(s.Old) == 0:
			// A Canary that failed stays so when its Deployment goes back to what was
			// promoted.
			st.Ready, st.Message = true, "ready"
		case promoted:
			st.Message = "waiting for the pods of deployment/" + s.target + primarySuffix
		case suspended:
			st.Held = &Hold{For: ForApproval, Why: "is suspended by spec.suspend"}
			st.Message = st.Held.String()
		case phase == "Failed" && s.judged():
			p := Problem{Workload: s.Workload, Reason: stated, Message: strings.TrimSuffix(conditionOf(s.Object, "Promoted").Message, ".") + stillRun(s.Current), Grace: pausedGrace}
			st.Suspects, st.Message = []Problem{p}, p.seen()
		default:
			st.taken = false
			st.Message = "waiting for Flagger to take up the change of deployment/" + s.target
		}
	case "Progressing":
		st.Held = &Hold{For: ForAnalysis, Why: "is analysed by Flagger: " + s.progress()}
		st.Message = st.Held.String()
	case "Waiting":
		st.Held = &Hold{For: ForApproval, Why: "waits for its confirm-rollout webhook"}
		st.Message = st.Held.String()
	case "WaitingPromotion":
		st.Held = &Hold{For: ForApproval, Why: "waits for its confirm-promotion webhook"}
		st.Message = st.Held.String()
	case "Promoting", "Finalising":
		st.Held = &Hold{For: ForAnalysis, Why: "is being promoted by Flagger"}
		st.Message = st.Held.String()
	default:
		st.Message = "waiting for Flagger: " + strings.ToLower(phase)
		if phase == "" {
			st.Message = "waiting for Flagger to take it up"
		}
	}
}

// progress is how far an analysis is.
func (s Snapshot) progress() string {
	number := func(path ...string) int64 {
		n, _, _ := unstructured.NestedInt64(s.Object.Object, path...)
		return n
	}
	var parts []string
	if of := number("spec", "analysis", "iterations"); of > 0 {
		parts = append(parts, fmt.Sprintf("iteration %d of %d", min(of, number("status", "iterations")), of))
	} else {
		parts = append(parts, fmt.Sprintf("weight %d", number("status", "canaryWeight")))
	}
	if failed := number("status", "failedChecks"); failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed checks of at most %d", failed, number("spec", "analysis", "threshold")))
	}
	return strings.Join(parts, ", ")
}

// promoted reports that the primary Deployment has what the Canary's Deployment
// has now. Of what is no Deployment, only the phase is known.
func (s Snapshot) promoted() bool {
	if s.target == "" {
		return statusText(s.Object, "phase") != "Failed"
	}
	target, primary := s.revisions.deployments[s.target], s.primary()
	if target == nil || primary == nil || !rolledOut(primary) {
		return false
	}
	return equality.Semantic.DeepEqual(essence(target), essence(primary))
}

// rolledOut reports a Deployment whose present revision runs.
func rolledOut(d *appsv1.Deployment) bool {
	object, err := toUnstructured("Deployment", d)
	if err != nil {
		return false
	}
	result, err := status.Compute(object)
	return err == nil && result.Status == status.CurrentStatus
}

// essence is what of a Deployment's pods Flagger copies to the primary: it renames
// ConfigMaps and Secrets there, and labels.
func essence(d *appsv1.Deployment) map[string]any {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&d.Spec.Template.Spec)
	if err != nil {
		return nil
	}
	found := map[string]any{}
	for _, field := range []string{"containers", "initContainers", "volumes"} {
		found[field] = content[field]
	}
	ownNames(found)
	annotations := maps.Clone(d.Spec.Template.Annotations)
	maps.DeleteFunc(annotations, func(key, _ string) bool { return key == "flagger-id" || strings.Contains(key, "toolkit.fluxcd.io") })
	if len(annotations) > 0 {
		found["annotations"] = annotations
	}
	return found
}

// configs are the fields that refer to a ConfigMap or a Secret.
var configs = []string{"configMap", "configMapKeyRef", "configMapRef", "secret", "secretKeyRef", "secretRef"}

// ownNames takes Flagger's suffix from the names of ConfigMaps and Secrets.
func ownNames(value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			if ref, ok := member.(map[string]any); ok && slices.Contains(configs, key) {
				for _, field := range []string{"name", "secretName"} {
					if name, ok := ref[field].(string); ok {
						ref[field] = strings.TrimSuffix(name, primarySuffix)
					}
				}
			}
			ownNames(member)
		}
	case []any:
		for _, member := range v {
			ownNames(member)
		}
	}
}

// judged reports that Flagger's verdict is about the present revision of the
// Deployment: that it is not older than its ReplicaSet.
func (s Snapshot) judged() bool {
	target := s.revisions.deployments[s.target]
	at, err := time.Parse(time.RFC3339, statusText(s.Object, "lastTransitionTime"))
	if target == nil || err != nil {
		return s.target == ""
	}
	return slices.ContainsFunc(s.revisions.replicaSets, func(rs *appsv1.ReplicaSet) bool {
		return isControlledBy(rs, target.UID) && rs.Annotations[deploymentRevision] == target.Annotations[deploymentRevision] && !at.Before(rs.CreationTimestamp.Time)
	})
}
