package flux

import (
	"context"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// rolloutWatch looks at the pods while Flux waits for them: it knows early, and
// in more words, why a rollout does not come to its end.
type rolloutWatch struct {
	done chan struct{}
	mu   sync.Mutex
	err  error
}

// watchRollout starts to watch for a revision later than one.
func (d *deployment) watchRollout(ctx context.Context, s seen, after int, old generations) *rolloutWatch {
	w := &rolloutWatch{done: make(chan struct{})}
	go func() {
		defer close(w.done)
		err := d.findProblem(ctx, s, after, old)
		if err == nil || ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		w.err = err
		w.mu.Unlock()
		if d.settings.rollback {
			d.Progress(protocol.Event{Phase: "rollout", Message: "it cannot succeed, Flux is to roll back: " + rollout.Clean(err.Error())})
		}
	}()
	return w
}

// reason is the problem of the rollout, nil when none was seen so far.
func (w *rolloutWatch) reason() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *rolloutWatch) wait() { <-w.done }

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

// generations reads those of the last revision.
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
// is wrong with those before is no problem of it.
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

// changed reports that every workload is new or has a new generation.
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
