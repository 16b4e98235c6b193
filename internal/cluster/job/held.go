package job

import (
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/nationtech/harmony/internal/cluster/reason"
)

// How long what holds a pod up must last before it is believed: a cluster may add a node, a
// registry may come back, somebody else may be about to make a Secret.
const (
	nodeGrace   = 20 * time.Second
	pullGrace   = 30 * time.Second
	configGrace = 10 * time.Second
)

// Held says why a pod does not start, or "", and how long that must last before nothing else
// is to be expected.
func Held(pod corev1.Pod) (why string, grace time.Duration) {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return "pod " + pod.Name + " has no node: " + c.Message, nodeGrace
		}
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if waiting := c.State.Waiting; waiting != nil {
			if grace, held := waits(c.Image, *waiting); held {
				return strings.TrimSuffix("pod "+pod.Name+": "+waiting.Reason+": "+waiting.Message, ": "), grace
			}
		}
	}
	return "", 0
}

func waits(image string, waiting corev1.ContainerStateWaiting) (grace time.Duration, held bool) {
	// The name of an image can hold any word.
	message := waiting.Message
	if image != "" {
		message = strings.ReplaceAll(message, image, "")
	}
	switch waiting.Reason {
	case "InvalidImageName", "ErrImageNeverPull":
		return 0, true
	case "ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed", "ImageInspectError":
		if reason.Final(message) {
			return 0, true
		}
		return pullGrace, true
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		return configGrace, true
	}
	return 0, false
}

// Ended reports whether the Job has ended, and how.
func Ended(j batchv1.Job) (ended, succeeded bool, message string) {
	for _, c := range j.Status.Conditions {
		switch {
		case c.Status != corev1.ConditionTrue:
		case c.Type == batchv1.JobComplete:
			return true, true, ""
		case c.Type == batchv1.JobFailed:
			return true, false, strings.TrimSuffix(c.Reason+": "+c.Message, ": ")
		}
	}
	return false, false, ""
}

// Done is [Ended] of a Job that [New] has made, with its pods: that the only one has ended is
// known seconds before the Job says so.
func Done(j batchv1.Job, pods []corev1.Pod) (ended, succeeded bool, message string) {
	for _, pod := range pods {
		switch pod.Status.Phase {
		case corev1.PodSucceeded:
			return true, true, ""
		case corev1.PodFailed:
			return true, false, strings.TrimSuffix(pod.Status.Reason+": "+pod.Status.Message, ": ")
		}
	}
	return Ended(j)
}

// Exit says how the container of a pod ended, or "".
func Exit(pod corev1.Pod) (why string, code int32) {
	for _, c := range pod.Status.ContainerStatuses {
		if t := c.State.Terminated; t != nil {
			if t.Reason == "Error" || t.Reason == "Completed" {
				return "", t.ExitCode
			}
			return strings.TrimSuffix(t.Reason+": "+t.Message, ": "), t.ExitCode
		}
	}
	return "", 0
}

// AnyHeld says why one of the pods does not start, or "", and how long that must last.
func AnyHeld(pods []corev1.Pod) (string, time.Duration) {
	for _, pod := range pods {
		if why, grace := Held(pod); why != "" {
			return why, grace
		}
	}
	return "", 0
}

// Exits is why pods failed: their exit codes, and what the cluster says of them.
func Exits(pods []corev1.Pod, otherwise string) string {
	for _, pod := range pods {
		why, code := Exit(pod)
		if code == 0 {
			continue
		}
		otherwise = fmt.Sprintf("exit code %d", code)
		if why != "" {
			otherwise += ", " + why
		}
	}
	return otherwise
}

// Trouble is what holds something up, and since when.
type Trouble struct {
	why   string
	since time.Time
}

// Lasting returns why once that has lasted for grace.
func (t *Trouble) Lasting(why string, grace time.Duration) string {
	switch {
	case why == "":
		*t = Trouble{}
		return ""
	case t.why == "":
		t.since = time.Now()
	}
	if t.why = why; time.Since(t.since) < grace {
		return ""
	}
	return why
}
