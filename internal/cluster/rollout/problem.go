package rollout

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
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
	// Late is true when it is not known to be a problem, but the time is over.
	Late bool
	// Grace is how long the problem must last before it is believed.
	Grace time.Duration
}

// How long it takes to believe in a problem that can pass by itself: a pull
// that failed on the way to the registry, a Secret that somebody else is about
// to make, a quota that old pods still use up.
const (
	pullGrace   = time.Minute
	configGrace = 10 * time.Second
	createGrace = 5 * time.Second
	failedGrace = 30 * time.Second
)

// crashLimit is how often a container may restart before it loops.
const crashLimit = 2

// finalPull is what container runtimes say of a pull that no retry can mend.
var finalPull = regexp.MustCompile(`(?i)not found|manifest unknown|unauthorized|denied|forbidden|no match for platform|invalid reference|no basic auth credentials`)

// key tells whether two problems are the same one.
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
	if c := conditionOf(s.Object, "Failed"); s.Kind == "Job" && c != nil && c["status"] == "True" {
		reason, _ := c["reason"].(string)
		message, _ := c["message"].(string)
		return []Problem{failedJob(s, reason, message)}
	}
	for _, pod := range s.Current {
		for _, c := range containers(pod) {
			if p, ok := suspect(s.Kind, pod, c); ok {
				p.Workload = s.Workload
				found = append(found, p)
			}
		}
	}
	if c := conditionOf(s.Object, "ReplicaFailure"); c != nil && c["status"] == "True" {
		reason, _ := c["reason"].(string)
		message, _ := c["message"].(string)
		found = append(found, Problem{Workload: s.Workload, Reason: reason, Message: message, Grace: createGrace})
	}
	return found
}

// suspect judges one container of a pod.
func suspect(kind string, pod *corev1.Pod, c corev1.ContainerStatus) (Problem, bool) {
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
	p.Reason, p.Message = waiting.Reason, waiting.Message
	switch waiting.Reason {
	case "ErrImagePull", "ImagePullBackOff":
		if !finalPull.MatchString(waiting.Message) {
			p.Grace = pullGrace
		}
		return p, true
	case "InvalidImageName", "ErrImageNeverPull":
		return p, true
	case "CreateContainerConfigError", "CreateContainerError":
		p.Grace = configGrace
		return p, true
	case "CrashLoopBackOff":
		// A Job has a limit of its own.
		p.Message = terminated(c.LastTerminationState.Terminated)
		return p, kind != "Job" && c.RestartCount >= crashLimit
	}
	return p, false
}

// terminated says how a container ended, as far as its reason tells more than
// its exit code does.
func terminated(t *corev1.ContainerStateTerminated) string {
	if t == nil || t.Reason == "Error" || t.Reason == "Completed" {
		return ""
	}
	if t.Message != "" {
		return t.Reason + ": " + t.Message
	}
	return t.Reason
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
	p := Problem{Workload: s.Workload, Reason: "failed", Message: message}
	if s.Kind == "Deployment" {
		p.Grace = failedGrace
	}
	for _, pod := range s.Current {
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
	parts := []string{}
	if p.Pod != nil {
		parts = append(parts, "pod "+p.Pod.Name)
	}
	if p.Container != "" {
		parts = append(parts, "container "+p.Container)
	}
	if !p.Late {
		parts = append(parts, p.Reason)
	}
	if p.ExitCode != nil {
		parts = append(parts, fmt.Sprintf("exit code %d", *p.ExitCode))
	}
	if n := p.restarts(); n > 0 {
		parts = append(parts, restarts(n))
	}
	verb := " cannot become ready: "
	if p.Late {
		verb = " is not ready in time: "
	}
	s := p.Workload.String() + verb + strings.Join(parts, ", ")
	if p.Message != "" && len(parts) > 0 {
		s += ": "
	}
	return Clean(s + p.Message)
}

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
		if p.Pod != nil && !slices.Contains(stuck, p.Pod) {
			stuck = append(stuck, p.Pod)
		}
	}
	return stuck
}
