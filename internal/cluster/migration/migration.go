// Package migration runs the migrations of an app on a cluster, each once for a version.
//
// A ConfigMap beside the release records what has run. An entry is written before its Job
// is made and after the Job has ended, and a Job is removed only when its end is recorded:
// whatever moment a run is killed at, the next one finds either the Job, and waits for it,
// or nothing that has begun. The name of a Job follows from what it runs, so that the
// cluster refuses a second one. A Job is made suspended, and resumed once the record still
// names this run: a run that was held up for so long that another took its lease starts
// nothing.
package migration

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/job"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Runner runs the migrations of a version of an app in a namespace. It is used under the
// lease of the release.
type Runner struct {
	Client    kubernetes.Interface
	Conn      *conn.Conn
	Namespace string
	App       protocol.AppSpec
	// Image is the one that is about to be deployed.
	Image protocol.ImageRef
	// PullSecrets are the names of Secrets to pull it with, besides those that the app's
	// pods have.
	PullSecrets []string
	// Mask leaves out of a text what is known to be secret.
	Mask func(string) string
	// Say reports a line of progress.
	Say func(format string, args ...any)

	run string
}

// image is the reference that a migration runs.
func (r *Runner) image(m protocol.Migration) (string, error) {
	if m.Job.Image != "" {
		return m.Job.Image, nil
	}
	image := r.Image
	if m.Job.AppImage != "" {
		image = r.Image.Images[m.Job.AppImage]
	}
	if image.Digest == "" {
		return "", fmt.Errorf("migration %s: the digest of its image is not known", m.Name)
	}
	return image.FullName() + "@" + image.Digest, nil
}

// wanted are the Jobs of the migrations, in order.
func (r *Runner) wanted(secrets []corev1.LocalObjectReference) ([]*batchv1.Job, error) {
	var all []*batchv1.Job
	for _, m := range r.App.Migrations {
		image, err := r.image(m)
		if err != nil {
			return nil, err
		}
		made, err := job.NewMigration(m, r.App.Version, job.Place{
			Namespace: r.Namespace, App: r.App.Name, Image: image, PullSecrets: secrets, Deadline: m.Limit(),
		})
		if err != nil {
			return nil, err
		}
		all = append(all, made)
	}
	return all, nil
}

// Plan tells what a run would do, and changes nothing.
func (r *Runner) Plan(ctx context.Context) ([]protocol.MigrationResult, error) {
	var results []protocol.MigrationResult
	all, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range r.App.Migrations {
		result := protocol.MigrationResult{Name: m.Name, Status: protocol.MigrationPlanned}
		if image, err := r.image(m); err == nil { // else it is not built yet
			made, err := job.NewMigration(m, r.App.Version, job.Place{App: r.App.Name, Image: image})
			if err != nil {
				return nil, err
			}
			if result.Image = image; all.isDone(made.Name) {
				result.Status = protocol.MigrationUnchanged
			}
		}
		results = append(results, result)
	}
	return results, nil
}

// Run runs the migrations that have not run for this version, one after the other, up to
// the first one that fails. The results tell of all of them.
func (r *Runner) Run(ctx context.Context) ([]protocol.MigrationResult, error) {
	r.run = rand.Text()
	secrets, err := r.pullSecrets(ctx)
	if err != nil {
		return nil, err
	}
	wanted, err := r.wanted(secrets)
	if err != nil {
		return nil, err
	}
	all, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	taken, err := r.settle(ctx, all, wanted)
	if err != nil {
		return nil, err
	}
	var results []protocol.MigrationResult
	for i, m := range r.App.Migrations {
		result := protocol.MigrationResult{Name: m.Name, Image: wanted[i].Spec.Template.Spec.Containers[0].Image, Status: protocol.MigrationSkipped}
		if err == nil {
			result, err = r.one(ctx, all, m, wanted[i], taken[wanted[i].Name], result)
		}
		results = append(results, result)
	}
	return results, err
}

// one runs a migration unless it has run. ended is how a Job of an earlier run has ended
// while this one waited for it.
func (r *Runner) one(ctx context.Context, all *record, m protocol.Migration, wanted *batchv1.Job, ended *end, result protocol.MigrationResult) (protocol.MigrationResult, error) {
	switch {
	case ended != nil:
		r.Say("migration %s was started by an earlier run", m.Name)
	case all.isDone(wanted.Name):
		result.Status = protocol.MigrationUnchanged
		return result, nil
	default:
		r.Say("migration %s", m.Name)
		started, err := r.start(ctx, all, wanted)
		if err == nil {
			ended, err = r.finish(ctx, all, started)
		}
		if err != nil {
			result.Status, result.Message = protocol.MigrationFailed, err.Error()
			return result, err
		}
	}
	result.Duration, result.Message = protocol.Duration(ended.took), ended.said
	if ended.failure == "" {
		result.Status = protocol.MigrationDone
		return result, nil
	}
	result.Status, result.Message = protocol.MigrationFailed, ended.text()
	return result, fmt.Errorf("migration %s: %s", m.Name, ended.text())
}

// start makes the Job and lets it run. One of its name that is there, after settle, is of a
// run that does not know yet that it has lost the lease.
func (r *Runner) start(ctx context.Context, all *record, wanted *batchv1.Job) (batchv1.Job, error) {
	e := entryOf(wanted)
	e.State, e.Run = started, r.run
	if err := r.write(ctx, all, wanted.Name, e); err != nil {
		return batchv1.Job{}, err
	}
	jobs := r.Client.BatchV1().Jobs(r.Namespace)
	made, err := jobs.Create(ctx, wanted, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return batchv1.Job{}, protocol.Retryable("migration %s is being started by another run: job %s", e.Migration, wanted.Name)
	}
	if err != nil {
		return batchv1.Job{}, fmt.Errorf("job %s: %w", wanted.Name, err)
	}
	now, err := r.read(ctx)
	if err == nil && now.entries[wanted.Name].Run != r.run {
		err = takenOver(e)
	}
	if err != nil {
		return batchv1.Job{}, errors.Join(err, r.remove(ctx, *made))
	}
	// Of this Job alone, not of one that another run has made since.
	resume := fmt.Appendf(nil, `{"metadata":{"uid":%q},"spec":{"suspend":false}}`, made.UID)
	resumed, err := jobs.Patch(ctx, wanted.Name, types.MergePatchType, resume, metav1.PatchOptions{})
	if err != nil {
		return batchv1.Job{}, fmt.Errorf("start job %s: %w", wanted.Name, err)
	}
	return *resumed, nil
}

// settle waits for the Jobs that earlier runs have left running, also those of another
// version, records how each has ended, and removes them. It returns the ends of those
// that it has waited for and that are wanted now: one that had failed before is run again.
func (r *Runner) settle(ctx context.Context, all *record, wanted []*batchv1.Job) (map[string]*end, error) {
	left, err := r.jobs(ctx)
	if err != nil {
		return nil, err
	}
	taken := map[string]*end{}
	for _, j := range left {
		over, _, _ := job.Ended(j)
		if isIdle(j) || j.DeletionTimestamp != nil {
			if err := r.remove(ctx, j); err != nil {
				return nil, err
			}
			continue
		}
		if !over {
			r.Say("waiting for job %s of an earlier run", j.Name)
		}
		ended, err := r.finish(ctx, all, j)
		if err != nil {
			return nil, err
		}
		for _, w := range wanted {
			if w.Name == j.Name && (ended.failure == "" || !over) {
				taken[j.Name] = ended
			}
		}
	}
	return taken, nil
}

// isIdle reports a Job that was made and never let run.
func isIdle(j batchv1.Job) bool {
	return j.Spec.Suspend != nil && *j.Spec.Suspend && j.Status.StartTime == nil && j.Status.Active == 0
}

// jobs are those of the app's migrations.
func (r *Runner) jobs(ctx context.Context) ([]batchv1.Job, error) {
	selector := labels.SelectorFromSet(job.MigrationLabels(r.App.Name)).String()
	list, err := r.Client.BatchV1().Jobs(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("list the jobs of migrations: %w", err)
	}
	return list.Items, nil
}

// remove deletes a Job, and waits until it and its pods are gone.
func (r *Runner) remove(ctx context.Context, j batchv1.Job) error {
	jobs := r.Client.BatchV1().Jobs(r.Namespace)
	foreground := metav1.DeletePropagationForeground
	err := jobs.Delete(ctx, j.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &j.UID}, PropagationPolicy: &foreground})
	for err == nil {
		var found *batchv1.Job
		if found, err = jobs.Get(ctx, j.Name, metav1.GetOptions{}); err == nil && found.UID != j.UID {
			return nil
		}
		if err == nil {
			err = pause(ctx)
		}
	}
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("remove job %s: %w", j.Name, err)
}

// look is the pause between two looks at a Job.
const look = 300 * time.Millisecond

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(look):
		return nil
	}
}
