package rollout

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
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
	ran := p.Pod != nil && slices.ContainsFunc(containers(p.Pod), func(c corev1.ContainerStatus) bool {
		return c.Name == p.Container && (c.State.Running != nil || c.State.Terminated != nil || c.LastTerminationState.Terminated != nil)
	})
	if ran && !isPull(p.Reason) {
		lines, err := logOf(ctx, client, p)
		section(&b, "last log lines of "+p.Container, lines, err)
	}
	return b.String()
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

// What is shown of one container's log, and how long its last lines may take
// after everything else is done.
const (
	maxLogLines = 1000
	lastLines   = 2 * time.Second
)

// logs follows the logs of containers as they start, each once.
type logs struct {
	client kubernetes.Interface
	show   func(w Workload, container, line string)
	seen   map[string]bool
	// ctx outlives that of the wait for a moment: the work ends with the pods,
	// whose last lines are still on their way.
	ctx    context.Context
	cancel context.CancelFunc
	all    sync.WaitGroup
}

// follow shows the logs of the containers that have started.
func (l *logs) follow(s Snapshot) {
	for _, pod := range s.Current {
		for _, c := range containers(pod) {
			key := string(pod.UID) + "/" + c.Name
			if l.seen[key] || c.State.Running == nil && c.State.Terminated == nil {
				continue
			}
			l.seen[key] = true
			l.all.Go(func() { l.copy(s.Workload, pod.Namespace, pod.Name, c.Name) })
		}
	}
}

// copy shows one log. A pod that is deleted before it was read has none: it is
// only shown, nothing depends on it.
func (l *logs) copy(w Workload, namespace, pod, container string) {
	stream, err := l.client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container, Follow: true}).Stream(l.ctx)
	if err != nil {
		return
	}
	defer stream.Close()
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, maxLogBytes)
	for n := 0; n < maxLogLines && lines.Scan(); n++ {
		l.show(w, container, Clean(lines.Text()))
	}
}

// end waits for the last lines, and no longer than a moment.
func (l *logs) end() {
	timer := time.AfterFunc(lastLines, l.cancel)
	l.all.Wait()
	timer.Stop()
	l.cancel()
}
