package smoke

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

// maxLogs is how many bytes of a container's log are read in one attempt.
const maxLogs = 8 << 20

// overlap is how much of what one attempt read the next one reads again: the API's times
// have seconds.
const overlap = 2 * time.Second

// logsProbe reads what the containers of an app have written since the last attempt. Its
// attempts are made one after another.
type logsProbe struct {
	rollout rolloutProbe
	forbid  []*regexp.Regexp
	// Lines count from first on; those from before from were read.
	first, from time.Time
}

func newLogsProbe(app string, check protocol.SmokeCheck, cluster *cluster) (probe, error) {
	rollout, err := newRolloutProbe(app, check.Logs.Workload, cluster)
	if err != nil {
		return nil, fmt.Errorf("logs.%w", err)
	}
	first := time.Now().Add(time.Duration(check.StartupGrace) - time.Duration(check.Logs.Since))
	p := &logsProbe{rollout: rollout, first: first, from: first}
	for i, text := range check.Logs.Forbid {
		expression, err := regexp.Compile(text)
		if err != nil {
			return nil, fmt.Errorf("logs.forbid[%d]: %w", i, err)
		}
		p.forbid = append(p.forbid, expression)
	}
	return p, nil
}

func (p *logsProbe) attempt(ctx context.Context) (string, error) {
	begin := time.Now()
	if begin.Before(p.from) {
		return "", fmt.Errorf("the startup grace ends in %s", p.from.Sub(begin).Round(time.Second))
	}
	pods, err := p.pods(ctx)
	if err != nil {
		return "", err
	}
	for _, pod := range pods {
		for _, container := range pod.Status.ContainerStatuses {
			if err := p.container(ctx, pod.Name, container); err != nil {
				return "", err
			}
		}
	}
	if p.from = begin.Add(-overlap); p.from.Before(p.first) {
		p.from = p.first
	}
	return fmt.Sprintf("no forbidden line from %d pods", len(pods)), nil
}

// pods are those of the app's workloads.
func (p *logsProbe) pods(ctx context.Context) ([]corev1.Pod, error) {
	workloads, err := p.rollout.find(ctx)
	if err != nil {
		return nil, err
	}
	var pods []corev1.Pod
	for _, w := range workloads {
		if w.kind == kindCanary {
			continue
		}
		var list corev1.PodList
		query := url.Values{"labelSelector": {metav1.FormatLabelSelector(&w.Spec.Selector)}}
		if err := p.rollout.cluster.get(ctx, "api/v1", "pods", query, &list); err != nil {
			return nil, err
		}
		pods = append(pods, list.Items...)
	}
	return pods, nil
}

// container reads the log of a container, and of the one before it if that ended meanwhile.
func (p *logsProbe) container(ctx context.Context, pod string, status corev1.ContainerStatus) error {
	if ended := status.LastTerminationState.Terminated; ended != nil && ended.FinishedAt.After(p.from) {
		if err := p.read(ctx, pod, status.Name, true); err != nil {
			return err
		}
	}
	if status.State.Waiting != nil { // it has no log yet
		return nil
	}
	return p.read(ctx, pod, status.Name, false)
}

func (p *logsProbe) read(ctx context.Context, pod, container string, previous bool) error {
	query := url.Values{
		"container": {container}, "limitBytes": {strconv.Itoa(maxLogs)}, "sinceTime": {p.from.UTC().Format(time.RFC3339)},
		"previous": {strconv.FormatBool(previous)},
	}
	cluster := p.rollout.cluster
	log, err := cluster.read(ctx, fmt.Sprintf("api/v1/namespaces/%s/pods/%s/log", cluster.Namespace, pod), query)
	switch {
	case apierrors.IsNotFound(err), apierrors.IsBadRequest(err): // it is gone, or just starts
		return nil
	case err != nil:
		return err
	case len(log) >= maxLogs:
		return fmt.Errorf("pod %s, container %s writes more than %d MiB between two attempts, and no more is read", pod, container, maxLogs>>20)
	}
	return p.scan(pod, container, log)
}

// scan looks for a line that must not be.
func (p *logsProbe) scan(pod, container string, log []byte) error {
	lines := bufio.NewScanner(bytes.NewReader(log))
	lines.Buffer(nil, maxLogs)
	for lines.Scan() {
		for _, expression := range p.forbid {
			if expression.Match(lines.Bytes()) {
				return decided{fmt.Errorf("pod %s, container %s wrote what %q forbids: %s", pod, container, expression, term.Excerpt(lines.Text(), maxExcerpt))}
			}
		}
	}
	return lines.Err()
}
