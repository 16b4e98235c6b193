package rollout

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// What Argo Rollouts writes on its pods and ReplicaSets.
const (
	podTemplateHash   = "rollouts-pod-template-hash"
	scaleDownDeadline = "scale-down-deadline"
)

func podHash(pod *corev1.Pod) string { return pod.Labels[podTemplateHash] }

// judgeRollout judges a Rollout by what its controller says, as kubectl argo
// rollouts status does, and by its pods.
func (s Snapshot) judgeRollout(st *Status) {
	if waits := s.notTaken(); waits != "" {
		st.Message = waits
		return
	}
	st.taken = true
	phase, message := statusText(s.Object, "phase"), statusText(s.Object, "message")
	st.Message = strings.ToLower(phase)
	if message != "" {
		st.Message = message
	}
	promoted := statusText(s.Object, "currentPodHash") == statusText(s.Object, "stableRS")
	switch pause, paused := s.pause(); {
	case phase == "Degraded":
		p := Problem{Workload: s.Workload, Reason: "degraded", Message: strings.TrimSuffix(message, ".") + stillRun(s.Old), Grace: failedGrace}
		if s.aborted() {
			p.Reason, p.Grace = "aborted", pausedGrace
		} else if strings.HasPrefix(message, "InvalidSpec") {
			p.Reason, p.Grace = "invalid", pausedGrace
		}
		st.Suspects, st.Message = []Problem{p}, p.seen()
	case promoted && st.ReadyPods >= st.Pods && len(s.Old) == 0 && (phase == "Healthy" || phase == "Paused"):
		st.Ready, st.Message = true, "ready"
	case paused:
		st.Held, st.Message = &pause, pause.String()
	default:
		if name := s.analysis(); name != "" {
			st.Held = &Hold{For: ForAnalysis, Why: "waits for AnalysisRun " + name + s.step()}
			st.Message = st.Held.String()
		}
	}
}

func (s Snapshot) aborted() bool {
	aborted, _, _ := unstructured.NestedBool(s.Object.Object, "status", "abort")
	return aborted
}

// notTaken says what the controller has not taken up yet, or "". A Rollout's
// generations are texts in its status.
func (s Snapshot) notTaken() string {
	seen, err := strconv.ParseInt(statusText(s.Object, "observedGeneration"), 10, 64)
	holds, _, _ := unstructured.NestedBool(s.Object.Object, "status", "controllerPause")
	pauses, _, _ := unstructured.NestedSlice(s.Object.Object, "status", "pauseConditions")
	switch {
	case statusText(s.Object, "phase") == "" || err == nil && seen < s.Object.GetGeneration():
		return "waiting for Argo Rollouts to take the change up"
	case holds && len(pauses) == 0:
		return "waiting for Argo Rollouts to go on"
	}
	d := s.revisions.deployments[s.target]
	if s.target == "" {
		return ""
	}
	seen, err = strconv.ParseInt(statusText(s.Object, "workloadObservedGeneration"), 10, 64)
	if d == nil || err != nil || seen < d.Generation {
		return "waiting for Argo Rollouts to take up the change of deployment/" + s.target
	}
	return ""
}

// pause is what a Rollout is paused for.
func (s Snapshot) pause() (Hold, bool) {
	if by, _, _ := unstructured.NestedBool(s.Object.Object, "spec", "paused"); by {
		return Hold{For: ForApproval, Why: "is paused by spec.paused"}, true
	}
	conditions, _, _ := unstructured.NestedSlice(s.Object.Object, "status", "pauseConditions")
	if len(conditions) == 0 {
		return Hold{}, false
	}
	condition, _ := conditions[0].(map[string]any)
	reason, _ := condition["reason"].(string)
	text, _ := condition["startTime"].(string)
	start, _ := time.Parse(time.RFC3339, text)
	hold := Hold{For: ForApproval}
	var lasts time.Duration
	switch reason {
	case "BlueGreenPause":
		seconds, _, _ := unstructured.NestedInt64(s.Object.Object, "spec", "strategy", "blueGreen", "autoPromotionSeconds")
		hold.Why, lasts = "is paused before its preview becomes active", time.Duration(seconds)*time.Second
	case "InconclusiveAnalysisRun", "InconclusiveExperiment":
		hold.Why = "is paused, for its analysis was inconclusive" + s.step()
	default:
		hold.Why, lasts = "is paused"+s.step(), s.pauseOfStep()
	}
	if lasts > 0 && !start.IsZero() {
		hold.For, hold.Until = ForTime, start.Add(lasts)
	}
	return hold, true
}

// steps are those of a canary, and the index of the present one.
func (s Snapshot) steps() ([]any, int64) {
	steps, _, _ := unstructured.NestedSlice(s.Object.Object, "spec", "strategy", "canary", "steps")
	index, _, _ := unstructured.NestedInt64(s.Object.Object, "status", "currentStepIndex")
	return steps, index
}

// step names the present step: " at step 2 of 5".
func (s Snapshot) step() string {
	steps, index := s.steps()
	if index < 0 || index >= int64(len(steps)) {
		return ""
	}
	return fmt.Sprintf(" at step %d of %d", index+1, len(steps))
}

// pauseOfStep is how long the pause of the present step is; zero for one without
// an end. A number, or a text without a unit, is in seconds.
func (s Snapshot) pauseOfStep() time.Duration {
	steps, index := s.steps()
	if index < 0 || index >= int64(len(steps)) {
		return 0
	}
	step, _ := steps[index].(map[string]any)
	value, found, _ := unstructured.NestedFieldNoCopy(step, "pause", "duration")
	if !found {
		return 0
	}
	text := fmt.Sprint(value)
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	lasts, err := time.ParseDuration(text)
	if err != nil {
		return 0 // the controller says what is wrong with it
	}
	return lasts
}

// analysis is the name of the AnalysisRun that the Rollout waits for, or "". One in
// the background holds nothing up.
func (s Snapshot) analysis() string {
	for _, path := range [][]string{
		{"canary", "currentStepAnalysisRunStatus"}, {"blueGreen", "prePromotionAnalysisRunStatus"}, {"blueGreen", "postPromotionAnalysisRunStatus"},
	} {
		if phase := statusText(s.Object, append(path, "status")...); phase == "Running" || phase == "Pending" {
			return statusText(s.Object, append(path, "name")...)
		}
	}
	return ""
}

// stillRun says which images the pods run that were there before, after another message:
// they go on to serve.
func stillRun(pods []*corev1.Pod) string {
	var images []string
	for _, pod := range pods {
		for _, c := range pod.Spec.Containers {
			if !slices.Contains(images, c.Image) {
				images = append(images, c.Image)
			}
		}
	}
	if len(images) == 0 {
		return ""
	}
	return fmt.Sprintf("; what served before goes on: %d pods run %s", len(pods), strings.Join(images, ", "))
}
