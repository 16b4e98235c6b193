package rollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/nationtech/harmony/internal/cli/term"
)

// What a diagnosis shows at most, and how long it may take.
const (
	shownEvents   = 4
	shownLogLines = 10
	diagnosisTime = 5 * time.Second
	maxLogBytes   = 16 << 10
)

// diagnose writes out a problem with the events of its object and the last log
// lines of its container. What cannot be read is said in its place.
func diagnose(ctx context.Context, client kubernetes.Interface, p Problem, uid types.UID) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), diagnosisTime)
	defer cancel()
	namespace := p.Workload.Namespace
	if p.Pod != nil {
		uid = p.Pod.UID
	}
	var b strings.Builder
	b.WriteString(p.String())
	events, err := eventsOf(ctx, client, namespace, uid)
	section(&b, "last events", events, err)
	if p.Pod != nil && p.Container != "" && !isPull(p.Reason) && ran(p) {
		lines, err := logOf(ctx, client, p)
		section(&b, "last log lines of "+p.Container, lines, err)
	}
	return b.String()
}

func ran(p Problem) bool {
	for _, c := range containers(p.Pod) {
		if c.Name == p.Container {
			return c.State.Running != nil || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil
		}
	}
	return false
}

func section(b *strings.Builder, title string, lines []string, err error) {
	if err != nil {
		fmt.Fprintf(b, "\n  %s: cannot be read: %v", title, err)
		return
	}
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "\n  %s:", title)
	for _, line := range lines {
		b.WriteString("\n    " + Clean(line))
	}
}

// eventsOf lists the last events about an object, warnings before others where
// there are too many, each text once and the oldest first.
func eventsOf(ctx context.Context, client kubernetes.Interface, namespace string, uid types.UID) ([]string, error) {
	list, err := client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("involvedObject.uid", string(uid)).String(),
	})
	if err != nil {
		return nil, err
	}
	byTime := func(a, b corev1.Event) int { return eventTime(a).Compare(eventTime(b)) }
	slices.SortStableFunc(list.Items, func(a, b corev1.Event) int {
		return cmp.Or(strings.Compare(b.Type, a.Type), byTime(b, a)) // Warning, then Normal
	})
	last := list.Items[:min(len(list.Items), shownEvents)]
	slices.SortStableFunc(last, byTime)
	var lines []string
	for _, e := range last {
		line := e.Type + " " + e.Reason + ": " + strings.TrimSpace(e.Message)
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return lines, nil
}

func eventTime(e corev1.Event) time.Time {
	switch {
	case e.Series != nil:
		return e.Series.LastObservedTime.Time
	case !e.LastTimestamp.IsZero():
		return e.LastTimestamp.Time
	case !e.EventTime.IsZero():
		return e.EventTime.Time
	}
	return e.CreationTimestamp.Time
}

func logOf(ctx context.Context, client kubernetes.Interface, p Problem) ([]string, error) {
	raw, err := client.CoreV1().Pods(p.Pod.Namespace).GetLogs(p.Pod.Name, &corev1.PodLogOptions{
		Container: p.Container, Previous: p.Previous,
		TailLines: new(int64(shownLogLines)), LimitBytes: new(int64(maxLogBytes)),
	}).DoRaw(ctx)
	if err != nil {
		return nil, err
	}
	text := strings.TrimRight(string(raw), "\n")
	if text == "" {
		return nil, nil
	}
	return strings.Split(text, "\n"), nil
}

// maxLine is the longest line that is shown, in characters.
const maxLine = 1000

// Clean makes one line of a text of the cluster's, fit to be shown.
func Clean(s string) string { return term.Excerpt(s, maxLine) }
