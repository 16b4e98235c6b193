package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/reason"
)

// Problem is what may keep a workload from becoming ready.
type Problem struct {
	Workload Workload
	// Pod is nil when the workload itself has the problem, for example because
	// it cannot make pods.
	Pod *corev1.Pod
	// Container is empty when it is not about one.
	Container string
	// Reason is a word of Kubernetes such as CrashLoopBackOff, and Message what
	// was said with it.
	Reason, Message string
	// ExitCode is that of the container's last run, if it ended.
	ExitCode *int32
	// Previous is true when the last run's log is the telling one.
	Previous bool
	// Late is true when the time is over.
	Late bool
	// Heals is true when the problem can pass without another release: an app that
	// ends until its database is there, a registry that is away, a Secret that
	// somebody else is about to make, a quota that old pods still use up. Without
	// [Options].FailFast it is only reported.
	Heals bool
	// Grace is how long the problem must last before it is believed.
	Grace time.Duration
}

// How long problems must last that are gone again after a moment, and those that
// heal when Options.FailFast is set.
const (
	pullGrace   = time.Minute
	configGrace = 10 * time.Second
	createGrace = 5 * time.Second
	failedGrace = 30 * time.Second
	pausedGrace = time.Second
)

// crashLimit is how often a container may restart with Options.FailFast.
const crashLimit = 2

// ends reports whether the problem ends a rollout once it has lasted long enough.
func (p Problem) ends(failFast bool) bool {
	if !p.Heals || !failFast {
		return !p.Heals
	}
	// A Job has a limit of its own.
	return p.Reason != crashLoop || p.Workload.Kind != "Job" && p.restarts() >= crashLimit
}

const crashLoop = "CrashLoopBackOff"

// key is equal for problems that are the same one.
func (p Problem) key() string {
	pod := ""
	if p.Pod != nil {
		pod = string(p.Pod.UID)
	}
	reason := p.Reason
	if isPull(reason) {
		reason = "pull"
	}
	return p.Workload.String() + "/" + pod + "/" + p.Container + "/" + reason
}

func isPull(reason string) bool { return reason == "ErrImagePull" || reason == "ImagePullBackOff" }

// suspects lists the problems of a workload that is not ready.
func suspects(s Snapshot) []Problem {
	var found []Problem
	if c := conditionOf(s.Object, "Failed"); s.Kind == "Job" && c.Status == corev1.ConditionTrue {
		return []Problem{failedJob(s, c.Reason, c.Message)}
	}
	for _, pod := range s.Current {
		for _, c := range containers(pod) {
			if p, ok := suspect(pod, c); ok {
				p.Workload = s.Workload
				found = append(found, p)
			}
		}
	}
	if c := conditionOf(s.Object, "ReplicaFailure"); c.Status == corev1.ConditionTrue {
		found = append(found, cannotCreate(s.Workload, c.Reason, c.Message))
	}
	paused, _, _ := unstructured.NestedBool(s.Object.Object, "spec", "paused")
	updated, _, _ := unstructured.NestedInt64(s.Object.Object, "status", "updatedReplicas")
	if s.Kind == "Deployment" && paused && updated < desired(s) {
		found = append(found, Problem{Workload: s.Workload, Grace: pausedGrace,
			Reason: fmt.Sprintf("it is paused: kubectl rollout resume %s -n %s", s.Workload, s.Namespace)})
	}
	return found
}

// cannotCreate is the problem of a workload that is not allowed to make pods.
func cannotCreate(w Workload, why, message string) Problem {
	return Problem{Workload: w, Reason: why, Message: message, Heals: !reason.Final(message), Grace: createGrace}
}

func suspect(pod *corev1.Pod, c corev1.ContainerStatus) (Problem, bool) {
	p := Problem{Pod: pod, Container: c.Name}
	if t := c.LastTerminationState.Terminated; t != nil {
		p.ExitCode, p.Previous = &t.ExitCode, true
	}
	if t := c.State.Terminated; t != nil {
		p.ExitCode, p.Previous = &t.ExitCode, false
	}
	waiting := c.State.Waiting
	if waiting == nil {
		return p, false
	}
	// The name of an image can hold any word.
	name, _, _ := strings.Cut(strings.TrimSuffix(c.Image, ":"+c.Image[strings.LastIndexByte(c.Image, ':')+1:]), "@")
	p.Reason, p.Message = waiting.Reason, waiting.Message
	p.Heals = !reason.Final(strings.ReplaceAll(waiting.Message, cmp.Or(name, " "), " "))
	switch waiting.Reason {
	case "ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed", "ImageInspectError":
		if p.Heals {
			p.Grace = pullGrace
		}
	case "InvalidImageName", "ErrImageNeverPull":
		p.Heals = false
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		p.Grace = configGrace
	case crashLoop:
		p.Heals, p.Message = true, ""
		if t := c.LastTerminationState.Terminated; t != nil && t.Reason != "Error" && t.Reason != "Completed" {
			p.Message = strings.TrimSuffix(t.Reason+": "+t.Message, ": ") // more than the exit code
		}
	default:
		return p, false
	}
	return p, true
}

// failedJob is the problem of a Job that gave up, with the pod that failed.
func failedJob(s Snapshot, reason, message string) Problem {
	p := Problem{Workload: s.Workload, Reason: reason, Message: message}
	for _, pod := range s.Current {
		for _, c := range containers(pod) {
			t, previous := c.State.Terminated, false
			if t == nil {
				t, previous = c.LastTerminationState.Terminated, true
			}
			if t != nil && t.ExitCode != 0 {
				p.Pod, p.Container, p.ExitCode, p.Previous = pod, c.Name, &t.ExitCode, previous
			}
		}
	}
	return p
}

// failed is the problem of a workload that says itself that it failed, such as
// a Deployment over its progress deadline or a pod that ended.
func failed(s Snapshot, message string) Problem {
	p := Problem{Workload: s.Workload, Reason: stated, Message: message}
	if s.Kind == "Deployment" {
		p.Grace = failedGrace
	}
	pods := s.Current
	if s.Kind == "StatefulSet" {
		pods = slices.Concat(pods, s.Old) // one of the old that is not ready holds the others up
	}
	for _, pod := range pods {
		if podReady(pod) {
			continue
		}
		p.Pod = pod
		for _, c := range pod.Status.ContainerStatuses {
			if t := c.State.Terminated; t != nil {
				p.Container, p.ExitCode = c.Name, &t.ExitCode
			} else if !c.Ready && p.Container == "" {
				p.Container = c.Name
			}
		}
		break
	}
	return p
}

// String is the problem on one line.
func (p Problem) String() string {
	verb := " cannot become ready: "
	if p.Late {
		verb = " is not ready in time: "
	}
	return Clean(p.Workload.String() + verb + p.seen())
}

// seen is the problem without its workload.
func (p Problem) seen() string {
	parts := []string{}
	if p.Pod != nil {
		parts = append(parts, "pod "+p.Pod.Name)
	}
	if p.Container != "" {
		parts = append(parts, "container "+p.Container)
	}
	if !p.Late || p.Reason != stated {
		parts = append(parts, p.Reason)
	}
	if p.ExitCode != nil {
		parts = append(parts, fmt.Sprintf("exit code %d", *p.ExitCode))
	}
	switch n := p.restarts(); {
	case n == 1:
		parts = append(parts, "1 restart")
	case n > 1:
		parts = append(parts, fmt.Sprintf("%d restarts", n))
	}
	s := strings.Join(parts, ", ")
	if p.Message != "" && s != "" {
		s += ": "
	}
	return Clean(s + p.Message)
}

// stated is the reason of a problem that the workload itself states.
const stated = "failed"

func (p Problem) restarts() int32 {
	if p.Pod == nil {
		return 0
	}
	for _, c := range containers(p.Pod) {
		if c.Name == p.Container {
			return c.RestartCount
		}
	}
	return 0
}

// containers are the statuses of a pod's containers, the initial ones first.
func containers(pod *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
}

// Stuck are the pods that are tried again after ever longer pauses, and that
// the workload's controller would replace.
func (s Snapshot) Stuck() []*corev1.Pod {
	if s.Kind == "Job" || s.Kind == "Pod" || s.Object == nil {
		return nil
	}
	var stuck []*corev1.Pod
	for _, p := range suspects(s) {
		if p.Pod != nil && p.ends(true) && !slices.Contains(stuck, p.Pod) {
			stuck = append(stuck, p.Pod)
		}
	}
	return stuck
}
