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
	// over ends the reading.
	over chan struct{}
	all  sync.WaitGroup
}

func newLogs(client kubernetes.Interface, show func(Workload, string, string)) *logs {
	return &logs{client: client, show: show, seen: map[string]bool{}, over: make(chan struct{})}
}

// follow shows the logs of the containers that have started. It outlives the
// context for a moment: the work ends with the pods, whose last lines are still on
// their way.
func (l *logs) follow(ctx context.Context, s Snapshot) {
	for _, pod := range s.Current {
		for _, c := range containers(pod) {
			key := string(pod.UID) + "/" + c.Name
			if l.seen[key] || c.State.Running == nil && c.State.Terminated == nil {
				continue
			}
			l.seen[key] = true
			l.all.Go(func() { l.copy(ctx, s.Workload, pod.Namespace, pod.Name, c.Name) })
		}
	}
}

// copy shows one log. A pod that is deleted before it was read has none: it is
// only shown, nothing depends on it.
func (l *logs) copy(ctx context.Context, w Workload, namespace, pod, container string) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go func() {
		select {
		case <-l.over:
			cancel()
		case <-ctx.Done():
		}
	}()
	stream, err := l.client.CoreV1().Pods(namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container, Follow: true}).Stream(ctx)
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
	timer := time.AfterFunc(lastLines, func() { close(l.over) })
	l.all.Wait()
	timer.Stop()
}
