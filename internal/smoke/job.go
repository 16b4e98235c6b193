package smoke

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/nationtech/harmony/internal/cluster/job"
	"github.com/nationtech/harmony/internal/cluster/reason"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// jobSpare is how much later than the check the cluster ends a Job, so that its log can
	// still be read.
	jobSpare = 10 * time.Second
	// createGrace is how long a Job may have no pod.
	createGrace = 10 * time.Second
)

const jobs = "apis/batch/v1"

// jobProbe runs a Job in each attempt. Attempts are made one after another.
type jobProbe struct {
	scene scene
	check protocol.SmokeCheck
	// swept is true once what an earlier run left was removed.
	swept bool
}

func (p *jobProbe) attempt(ctx context.Context) (string, error) {
	image, err := p.scene.imageOf(ctx, *p.check.Job)
	if err != nil {
		return "", err
	}
	end, _ := ctx.Deadline()
	wanted, err := job.New(*p.check.Job, job.Place{
		Namespace: p.scene.cluster.Namespace, App: p.scene.app.Name, Check: p.check.Name,
		Image: image.reference, PullSecrets: image.secrets, Deadline: time.Until(end) + jobSpare,
	})
	if err != nil {
		return "", err
	}
	if err := p.sweep(ctx, wanted.Name); err != nil {
		return "", err
	}
	started, err := p.start(ctx, wanted)
	if err != nil {
		return "", err
	}
	seen, err := p.follow(ctx, started)
	return seen, errors.Join(err, p.remove(ctx, started))
}

// sweep removes the Jobs that earlier runs of the check left, of which this one can take up
// only that of its own name.
func (p *jobProbe) sweep(ctx context.Context, own string) error {
	if p.swept {
		return nil
	}
	var left batchv1.JobList
	selector := labels.SelectorFromSet(job.Labels(p.scene.app.Name, p.check.Name)).String()
	if err := p.scene.cluster.get(ctx, jobs, "jobs", url.Values{"labelSelector": {selector}}, &left); err != nil {
		return err
	}
	for _, j := range left.Items {
		if ended, _, _ := job.Ended(j); ended || j.Name != own {
			if err := p.remove(ctx, j); err != nil {
				return err
			}
		}
	}
	p.swept = true
	return nil
}

// start creates the Job. One of the same name that still runs does the same for another run
// of this check, or was left by one that was killed: it is taken.
func (p *jobProbe) start(ctx context.Context, wanted *batchv1.Job) (batchv1.Job, error) {
	for {
		var started batchv1.Job
		body, err := p.scene.cluster.send(ctx, http.MethodPost, p.path(""), nil, wanted)
		if err == nil {
			return started, json.Unmarshal(body, &started)
		}
		if !apierrors.IsAlreadyExists(err) {
			return started, refused(err)
		}
		err = p.scene.cluster.get(ctx, jobs, "jobs/"+wanted.Name, nil, &started)
		ended, _, _ := job.Ended(started)
		switch {
		case err != nil && !apierrors.IsNotFound(err):
			return started, err
		case err == nil && !ended && started.DeletionTimestamp == nil:
			return started, nil
		case err == nil && started.DeletionTimestamp == nil:
			if err := p.remove(ctx, started); err != nil {
				return started, err
			}
		}
		if !pause(ctx, podLook) {
			return started, fmt.Errorf("job %s of an earlier run is still being deleted", wanted.Name)
		}
	}
}

// refused ends the check when the API server says that a Job cannot be as it is.
func refused(err error) error {
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		return decided{err}
	}
	return err
}

func (p *jobProbe) path(name string) string {
	path := fmt.Sprintf("%s/namespaces/%s/jobs", jobs, p.scene.cluster.Namespace)
	if name != "" {
		path += "/" + name
	}
	return path
}

// remove deletes the Job and its pods.
func (p *jobProbe) remove(ctx context.Context, j batchv1.Job) error {
	if err := p.scene.cluster.remove(ctx, p.path(j.Name), j.UID); err != nil {
		return fmt.Errorf("job %s: %w", j.Name, err)
	}
	return nil
}

// follow waits for the end of the Job.
func (p *jobProbe) follow(ctx context.Context, j batchv1.Job) (string, error) {
	var pods []corev1.Pod
	var troubles job.Trouble
	for {
		now, err := p.look(ctx, &j)
		switch {
		case ctx.Err() != nil:
			return "", p.overtime(ctx, j, pods)
		case err != nil:
			return "", err
		}
		pods = now
		if ended, succeeded, message := job.Done(j, pods); ended {
			return p.ended(ctx, j, pods, succeeded, message)
		}
		if why := troubles.Lasting(p.held(ctx, j, pods)); why != "" {
			return "", decided{fmt.Errorf("job %s does not start: %s", j.Name, why)}
		}
		sleep(ctx, podLook)
	}
}

// look reads the Job again, and its pods.
func (p *jobProbe) look(ctx context.Context, j *batchv1.Job) ([]corev1.Pod, error) {
	var now batchv1.Job
	err := p.scene.cluster.get(ctx, jobs, "jobs/"+j.Name, nil, &now)
	if apierrors.IsNotFound(err) || err == nil && now.UID != j.UID {
		return nil, fmt.Errorf("job %s was deleted by somebody else", j.Name)
	}
	if err != nil {
		return nil, err
	}
	*j = now
	return p.scene.cluster.podsOf(ctx, j.Spec.Selector)
}

// ended is the outcome of a Job.
func (p *jobProbe) ended(ctx context.Context, j batchv1.Job, pods []corev1.Pod, succeeded bool, message string) (string, error) {
	said := p.scene.cluster.said(ctx, pods)
	if succeeded {
		return said, nil
	}
	return "", fmt.Errorf("job %s: %s: %s", j.Name, job.Exits(pods, message), said)
}

// overtime is the error of a Job that has not ended in time.
func (p *jobProbe) overtime(ctx context.Context, j batchv1.Job, pods []corev1.Pod) error {
	if cancelled(ctx) {
		return ctx.Err()
	}
	if why, _ := p.held(context.WithoutCancel(ctx), j, pods); why != "" {
		return unfinished{fmt.Errorf("job %s does not start: %s", j.Name, why)}
	}
	return unfinished{fmt.Errorf("job %s has not ended in time: %s", j.Name, p.scene.cluster.said(ctx, pods))}
}

// held says why the Job's pod does not start, or why the Job has no pod.
func (p *jobProbe) held(ctx context.Context, j batchv1.Job, pods []corev1.Pod) (string, time.Duration) {
	if why, grace := job.AnyHeld(pods); why != "" {
		return why, grace
	}
	if len(pods) > 0 || time.Since(j.CreationTimestamp.Time) < createGrace/5 {
		return "", 0
	}
	var events corev1.EventList
	query := url.Values{"fieldSelector": {"involvedObject.uid=" + string(j.UID) + ",reason=FailedCreate"}}
	if err := p.scene.cluster.get(ctx, "api/v1", "events", query, &events); err != nil || len(events.Items) == 0 {
		return "", 0
	}
	message := events.Items[len(events.Items)-1].Message
	if reason.Final(message) {
		return message, 0
	}
	return message, createGrace
}
