package rollout

import (
	"bufio"
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
)

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
	stop   context.CancelFunc
	ctx    context.Context
	all    sync.WaitGroup
}

// newLogs makes logs that outlive the context for a moment: the work ends with
// the pods, whose last lines are still on their way.
func newLogs(ctx context.Context, client kubernetes.Interface, show func(Workload, string, string)) *logs {
	l := &logs{client: client, show: show, seen: map[string]bool{}}
	l.ctx, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	return l
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
	timer := time.AfterFunc(lastLines, l.stop)
	l.all.Wait()
	timer.Stop()
	l.stop()
}
