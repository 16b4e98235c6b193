package flux

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fluxcd/pkg/apis/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/proof"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// fetched waits until source-controller has the chart. What a source that is not
// new says may be about what was there before: it is asked to look again.
func (d *deployment) fetched(ctx context.Context, source part, isNew bool) error {
	s, token := source.seen, ""
	if isOurs(s) && !isNew && !judgeSource(s, d.Chart.Digest, "").done {
		token = newToken()
		if err := d.annotate(ctx, sources, s, map[string]string{meta.ReconcileRequestAnnotation: token}); err != nil {
			return err
		}
	}
	return d.await(ctx, sources, s, "fetch", func(s seen) (bool, error) {
		v := judgeSource(s, d.Chart.Digest, token)
		if v.failed || d.settings.failFast && v.refused {
			return false, &protocol.Error{
				Code: protocol.ExitFailed, Message: fmt.Sprintf("%s: Flux cannot fetch the chart: %s", s, rollout.Clean(s.message())),
				Hint: "see that the cluster reaches the registry, and that continuousDelivery.settings.secretRef names its credentials where it wants any",
			}
		}
		return v.done, nil
	})
}

// await reads an object after each change until enough says that it will do. It
// reports the message of the object.
func (d *deployment) await(ctx context.Context, resource schema.GroupVersionResource, s seen, phase string, enough func(seen) (bool, error)) error {
	told := ""
	for {
		next, err := delivery.Retried(ctx, d.survive, func(ctx context.Context) (seen, error) {
			return d.get(ctx, resource, s.GetNamespace(), s.GetName())
		})
		if err == nil && !next.exists() {
			err = fmt.Errorf("%s was deleted", s)
		}
		if err != nil {
			return late(ctx, s, err)
		}
		s = next
		if done, err := enough(s); done || err != nil {
			return err
		}
		if message := rollout.Clean(s.message()); message != told {
			told = message
			d.Progress(protocol.Event{Phase: phase, Message: s.String() + ": " + message})
		}
		if err := d.changed(ctx, resource, s); err != nil {
			return late(ctx, s, err)
		}
	}
}

// late adds the last message of the object to an expired deadline.
func late(ctx context.Context, s seen, err error) error {
	if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%s: %s: %w", s, rollout.Clean(s.message()), context.DeadlineExceeded)
}

// refusalGrace is how long Flux must refuse to be believed: it tries again by
// itself, and may have met a server that was away.
const refusalGrace = 5 * time.Second

// follow waits until Flux has done what was asked, and proves it.
func (d *deployment) follow(ctx context.Context, s seen, token string, before standing, old generations) (protocol.DeployResult, error) {
	watched, stop := context.WithCancel(ctx)
	defer stop()
	w := d.watchRollout(watched, s, before.revision, old)
	var last seen
	var refused time.Time // when first
	start := time.Now()
	err := d.await(ctx, releases, s, "reconcile", func(s seen) (bool, error) {
		last = s
		v := judgeRelease(s, d.Chart.Digest, token)
		no := handled(s, token) && s.refused(before.revision)
		if no && refused.IsZero() {
			refused = time.Now()
		}
		switch {
		case no && time.Since(refused) > refusalGrace:
			return false, d.failure(s, w.reason())
		case v.done:
			return true, nil
		case v.failed:
			return false, d.failure(s, w.reason())
		case w.reason() != nil && !d.settings.rollback:
			return false, d.failure(s, w.reason())
		case time.Since(start) > d.settings.timeout+slack && !s.failing():
			return false, d.unanswered(s, token, time.Since(start), w.reason())
		}
		return false, nil
	})
	stop()
	<-w.done
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil && last.exists() {
		err = d.unanswered(last, token, time.Since(start), w.reason())
	}
	if err != nil {
		return d.afterFailure(ctx, last, token, before, err)
	}
	return d.proven(ctx, last, before)
}

// proven follows the rollout to its end, for which Flux need not have waited,
// and proves that the image runs.
func (d *deployment) proven(ctx context.Context, s seen, before standing) (protocol.DeployResult, error) {
	made, held := d.prove(ctx, s, d.Image)
	if made == nil {
		return protocol.DeployResult{}, held
	}
	d.Irreversible = made.irreversible
	after := d.wanted(s.revision())
	if isOurs(s) {
		d.prune(ctx)
		if err := d.pruneValues(ctx, d.secretOf(s.Unstructured)); err != nil {
			d.Say("warning", "old Secrets with values are left: %v", err)
		}
	}
	result, err := d.Held(d.result(outcome(before, after), after, before), held)
	if err == nil && len(d.drifted) > 0 { // Flux was asked to mend it
		result.Drift, err = d.drift(ctx, made)
	}
	return result, err
}

// prove waits until the revision in force runs, with the image, and returns it.
func (d *deployment) prove(ctx context.Context, s seen, image protocol.ImageRef) (*stored, error) {
	r, err := d.read(ctx, s, s.revision())
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, fmt.Errorf("%s: revision %d is not in Helm's storage", s, s.revision())
	}
	d.TellUnproven(r.objects)
	prover := proof.NewProver(d.App.Name, image)
	return r, rollout.Wait(ctx, d.Client, r.workloads, rollout.Options{
		Progress: delivery.Rollout(d.Progress, "rollout"), FailFast: d.settings.failFast, Promote: d.back,
		Check: func(seen []rollout.Snapshot) (bool, error) { return prover.Proven(ctx, r.proof(), seen) },
	})
}

// failure is Flux's message, with what the pods show.
func (d *deployment) failure(s seen, reason error) error {
	told := fmt.Errorf("%s: %s", s, rollout.Clean(s.message()))
	if reason == nil {
		return told
	}
	return fmt.Errorf("%w\n%w", told, reason)
}

// unanswered is the error when Flux took too long.
func (d *deployment) unanswered(s seen, token string, after time.Duration, reason error) error {
	after = after.Round(time.Second)
	if !handled(s, token) && !s.is(meta.ReconcilingCondition) {
		return protocol.Retryable("%s: helm-controller has not answered for %s", s, after).
			WithHint("see that it runs: kubectl get deployments -A -l app.kubernetes.io/part-of=flux")
	}
	return fmt.Errorf("not done after %s: %w", after, d.failure(s, reason))
}

// afterFailure reports a rollback, once it is proven that what ran before runs
// again.
func (d *deployment) afterFailure(ctx context.Context, s seen, token string, before standing, failed error) (protocol.DeployResult, error) {
	if !s.exists() || !judgeRelease(s, d.Chart.Digest, token).rolledBack {
		return protocol.DeployResult{}, failed
	}
	d.Progress(protocol.Event{Phase: "rollback", Message: "Flux rolled back to the previous revision"})
	now, err := d.standing(ctx, s)
	if err != nil {
		return protocol.DeployResult{}, errors.Join(failed, err)
	}
	if now.chart == "" {
		now.chart = before.chart
	}
	if now.image != "" || d.Image.IsNone() {
		image := d.Image
		image.Digest, image.Images = now.image, now.images
		d.back = true
		if _, err := d.prove(ctx, s, image); err != nil {
			return protocol.DeployResult{}, errors.Join(failed, fmt.Errorf("after the rollback: %w", err))
		}
	}
	return d.result(protocol.OutcomeRolledBack, now, before), failed
}

// rolloutWatch watches the pods while Flux waits for them: it knows early, and in
// more words, why a rollout cannot succeed.
type rolloutWatch struct {
	done    chan struct{}
	problem atomic.Value
}

// watchRollout starts to watch for a revision later than the one given.
func (d *deployment) watchRollout(ctx context.Context, s seen, after int, old generations) *rolloutWatch {
	w := &rolloutWatch{done: make(chan struct{})}
	go func() {
		defer close(w.done)
		err := d.findProblem(ctx, s, after, old)
		if err == nil || ctx.Err() != nil {
			return
		}
		w.problem.Store(&err)
		if d.settings.rollback {
			d.Say("rollout", "it cannot succeed, and Flux will roll back: %v", err)
		}
	}()
	return w
}

// reason is the problem of the rollout; nil when none has been seen so far.
func (w *rolloutWatch) reason() error {
	if problem, ok := w.problem.Load().(*error); ok {
		return *problem
	}
	return nil
}

// findProblem waits for the revision and for its objects, and then looks for
// what keeps it from becoming ready. Just before Flux gives up it says what is
// missing then.
func (d *deployment) findProblem(ctx context.Context, s seen, after int, old generations) error {
	r, err := d.applied(ctx, s, after, old)
	if err != nil {
		return nil // it ended, or Flux itself says more
	}
	early := min(d.settings.timeout/8, 2*time.Second)
	ctx, cancel := context.WithTimeout(ctx, d.settings.timeout-early)
	defer cancel()
	return rollout.Wait(ctx, d.Client, r.workloads, rollout.Options{FailOnly: true, FailFast: d.settings.failFast, Progress: delivery.Rollout(d.Progress, "rollout")})
}

// generations are those of the workloads before a change, by UID.
type generations map[types.UID]int64

func (d *deployment) generations(ctx context.Context, s seen) (generations, error) {
	found := generations{}
	err := d.survive(ctx, func() error {
		r, err := d.newest(s)
		if err != nil || r == nil {
			return err
		}
		snapshots, err := rollout.Read(ctx, d.Client, r.workloads)
		for _, s := range snapshots {
			if s.Object != nil {
				found[s.Object.GetUID()] = s.Object.GetGeneration()
			}
		}
		return err
	})
	return found, err
}

// untouched is how long a workload may stay as it was before it is taken for one
// that the revision does not change.
const untouched = 10 * time.Second

// applied is the revision that Flux works on, once its workloads are there: what
// is wrong with those before is not a problem of it.
func (d *deployment) applied(ctx context.Context, s seen, after int, old generations) (*stored, error) {
	ticker := time.NewTicker(time.Second / 2)
	defer ticker.Stop()
	var since time.Time
	for {
		r, err := d.pending(s, after)
		if err == nil && r != nil {
			if since.IsZero() {
				since = time.Now()
			}
			snapshots, err := rollout.Read(ctx, d.Client, r.workloads)
			same := !r.hasHooks && time.Since(since) > untouched
			if err == nil && sameImages(r, snapshots) && (same || old.changed(snapshots)) {
				return r, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-ticker.C:
		}
	}
}

// changed reports whether every workload is new or has a new generation.
func (g generations) changed(snapshots []rollout.Snapshot) bool {
	return !slices.ContainsFunc(snapshots, func(s rollout.Snapshot) bool {
		if s.Object == nil {
			return true
		}
		before, known := g[s.Object.GetUID()]
		return known && before == s.Object.GetGeneration()
	})
}

// sameImages reports that the workloads on the cluster have the images of the
// revision.
func sameImages(r *stored, snapshots []rollout.Snapshot) bool {
	for _, s := range snapshots {
		i := slices.IndexFunc(r.objects, func(o *unstructured.Unstructured) bool {
			return o.GetKind() == s.Kind && o.GetName() == s.Name
		})
		if s.Object == nil || i < 0 || !slices.Equal(manifest.Images(r.objects[i:i+1]), manifest.Images([]*unstructured.Unstructured{s.Object})) {
			return false
		}
	}
	return true
}
