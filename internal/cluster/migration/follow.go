package migration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/cli/plain"
	"github.com/nationtech/harmony/internal/cluster/job"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/cluster/reason"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// logTail is how many of the last lines of a log are read, and shown how many
	// characters of them are told.
	logTail = 40
	shown   = 2000
	// logBytes bounds what is read of a log.
	logBytes = 64 << 10
	// lateEnd is how long after its deadline a Job may not have ended.
	lateEnd = time.Minute
	// createGrace is how long a Job may have no pod.
	createGrace = 10 * time.Second
)

// end is how a Job has ended.
type end struct {
	// failure is empty for one that succeeded.
	failure string
	// said is the end of its log.
	said string
	took time.Duration
}

// text says how a Job failed, with its log.
func (e end) text() string {
	if e.said == "" {
		return e.failure
	}
	return e.failure + ":\n" + e.said
}

// entryOf is the entry of a Job, without its state.
func entryOf(j *batchv1.Job) entry {
	a := j.Annotations
	return entry{Migration: a[marks.MigrationName], Version: a[marks.Version], Image: a[marks.Image]}
}

// finish waits for the end of a Job, records it, and removes the Job. An interruption
// leaves the Job running: the next run finds it.
func (r *Runner) finish(ctx context.Context, all *record, j batchv1.Job) (*end, error) {
	ended, err := r.follow(ctx, &j)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("migration %s: job %s goes on, and the next run waits for it: %w", entryOf(&j).Migration, j.Name, context.Cause(ctx))
	}
	if err != nil {
		return nil, err
	}
	e := entryOf(&j)
	if e.State = done; ended.failure != "" {
		e.State = failed
	}
	if err := r.write(ctx, all, j.Name, e); err != nil {
		return nil, err
	}
	return ended, r.remove(ctx, j)
}

// follow waits for the end of a Job. What the API server cannot answer for a while is
// asked again, as long as the lease is held.
func (r *Runner) follow(ctx context.Context, j *batchv1.Job) (*end, error) {
	var troubles job.Trouble
	for {
		pods, err := r.see(ctx, j)
		switch {
		case err != nil && protocol.ExitCode(r.Conn.Explain(err)) != protocol.ExitRetryable:
			return nil, err
		case err == nil:
			if over, succeeded, message := job.Done(*j, pods); over {
				return r.ended(ctx, *j, pods, succeeded, message), nil
			}
			if why := troubles.Lasting(r.held(ctx, *j, pods)); why != "" {
				return &end{failure: "job " + j.Name + " does not start: " + plain.Clean(why)}, nil
			}
			if late(*j) {
				return nil, protocol.Retryable("job %s has not ended by its deadline", j.Name)
			}
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
}

// see reads the Job again, and its pods.
func (r *Runner) see(ctx context.Context, j *batchv1.Job) ([]corev1.Pod, error) {
	found, err := r.Client.BatchV1().Jobs(r.Namespace).Get(ctx, j.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && found.UID != j.UID {
		return nil, fmt.Errorf("job %s was deleted by somebody else: how it ended is not known, and the next run starts it again", j.Name)
	}
	if err != nil {
		return nil, err
	}
	*j = *found
	pods, err := r.Client.CoreV1().Pods(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(j.Spec.Selector)})
	if err != nil {
		return nil, err
	}
	return pods.Items, nil
}

func late(j batchv1.Job) bool {
	if j.Status.StartTime == nil || j.Spec.ActiveDeadlineSeconds == nil {
		return false
	}
	return time.Since(j.Status.StartTime.Time) > time.Duration(*j.Spec.ActiveDeadlineSeconds)*time.Second+lateEnd
}

// held says why the Job's pod does not start, or why the Job has no pod.
func (r *Runner) held(ctx context.Context, j batchv1.Job, pods []corev1.Pod) (string, time.Duration) {
	if why, grace := job.AnyHeld(pods); why != "" {
		return why, grace
	}
	if len(pods) > 0 || time.Since(j.CreationTimestamp.Time) < createGrace/5 {
		return "", 0
	}
	events, err := r.Client.CoreV1().Events(r.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(j.UID) + ",reason=FailedCreate"})
	if err != nil || len(events.Items) == 0 {
		return "", 0
	}
	message := events.Items[len(events.Items)-1].Message
	if reason.Final(message) {
		return message, 0
	}
	return message, createGrace
}

func (r *Runner) ended(ctx context.Context, j batchv1.Job, pods []corev1.Pod, succeeded bool, message string) *end {
	e := &end{said: r.said(ctx, pods)}
	if j.Status.StartTime != nil {
		e.took = time.Since(j.Status.StartTime.Time).Round(time.Millisecond)
	}
	if !succeeded {
		e.failure = plain.Clean(job.Exits(pods, message))
	}
	return e
}

// said are the last lines of the logs of pods, cleaned and without what is secret.
func (r *Runner) said(ctx context.Context, pods []corev1.Pod) string {
	var text strings.Builder
	lines, bytes := int64(logTail), int64(logBytes)
	for _, pod := range pods {
		log, err := r.Client.CoreV1().Pods(r.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{TailLines: &lines, LimitBytes: &bytes}).DoRaw(ctx)
		if err != nil {
			log = fmt.Appendf(nil, "its log cannot be read: %v\n", err)
		}
		text.Write(log)
	}
	said := []rune(strings.TrimSpace(plain.Clean(r.Mask(text.String()))))
	return string(said[max(0, len(said)-shown):])
}

// pullSecrets are those of the runner, and of the app's pods that pull from the same
// repository.
func (r *Runner) pullSecrets(ctx context.Context) ([]corev1.LocalObjectReference, error) {
	var all []corev1.LocalObjectReference
	for _, name := range r.PullSecrets {
		all = append(all, corev1.LocalObjectReference{Name: name})
	}
	repositories := map[string]bool{}
	for _, image := range r.Image.All() {
		repositories[image.FullName()] = !image.IsNone()
	}
	pods, err := r.Client.CoreV1().Pods(r.Namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		return all, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the pods of namespace %s: %w", r.Namespace, err)
	}
	for _, pod := range pods.Items {
		for _, c := range pod.Spec.Containers {
			image, err := protocol.ParseImageRef(c.Image)
			if err != nil || !repositories[image.FullName()] {
				continue
			}
			for _, secret := range pod.Spec.ImagePullSecrets {
				if !slices.Contains(all, secret) {
					all = append(all, secret)
				}
			}
		}
	}
	return all, nil
}

// Left names what the migrations of an app have left on the cluster: the record, and Jobs.
func (r *Runner) Left(ctx context.Context) (left []protocol.ObjectRef, err error) {
	name := RecordName(r.App.Name)
	switch _, err := r.Client.CoreV1().ConfigMaps(r.Namespace).Get(ctx, name, metav1.GetOptions{}); {
	case err == nil:
		left = append(left, protocol.ObjectRef{Resource: "configmap", Name: name, Namespace: r.Namespace})
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("read which migrations have run: %w", err)
	}
	jobs, err := r.jobs(ctx)
	for _, j := range jobs {
		left = append(left, protocol.ObjectRef{Resource: "job.batch", Name: j.Name, Namespace: r.Namespace})
	}
	return left, err
}

// Forget removes that.
func (r *Runner) Forget(ctx context.Context) error {
	jobs, err := r.jobs(ctx)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if err := r.remove(ctx, j); err != nil {
			return err
		}
	}
	err = r.Client.CoreV1().ConfigMaps(r.Namespace).Delete(ctx, RecordName(r.App.Name), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove the record of the migrations: %w", err)
	}
	return nil
}
