package argocd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/nationtech/harmony/internal/cluster/proof"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// runs reports that Argo CD finds the release in force and healthy, and that no
// pod which it sees has another image of the app.
func (f *fanout) runs(a *application, r release) bool {
	return f.wantsOf(a, r) && a.Operation == nil && a.Problem() == nil && fresh(a) &&
		compared(a, r) && a.Status.Sync.Status == api.Synced && a.Status.Health.Status == api.Healthy && f.proven(a, r)
}

// compared reports that Argo CD's view is about the release: its chart, and the
// values too.
func compared(a *application, r release) bool {
	s := a.Status.Sync
	return s.Revision == r.chart() && equality.Semantic.DeepEqual(s.ComparedTo.Source, r.Source)
}

func (f *fanout) wantsOf(a *application, r release) bool {
	return a != nil && equality.Semantic.DeepEqual(releaseOf(a).Source, r.Source)
}

// proven checks the images of the pods. Where there are none, the chart's digest
// is all that there is.
func (f *fanout) proven(a *application, r release) bool {
	image, err := r.image(f.Image)
	if err != nil || image.Digest == "" {
		return err == nil
	}
	for _, running := range a.Status.Summary.Images {
		for _, one := range image.All() {
			if proof.SameRepository(running, one) && !strings.HasSuffix(running, "@"+one.Digest) {
				return false
			}
		}
	}
	return true
}

// trouble is what is wrong with a member, or "". What may be about what was
// there before has to last.
func (f *fanout) trouble(a *application, r release, since time.Time) (reason string, lasting bool) {
	if !f.wantsOf(a, r) {
		return "", false
	}
	s := a.Status.OperationState
	if s != nil && s.SyncResult != nil && !equality.Semantic.DeepEqual(s.SyncResult.Source, r.Source) {
		s = nil // the operation is that of another release
	}
	switch c := a.Problem(); {
	case c != nil:
		return c.Type + ": " + c.Message, true
	case s != nil && (s.Phase == api.Failed || s.Phase == api.Error):
		return operationFailed(s), s.FinishedAt == nil || s.FinishedAt.Time.Before(since.Truncate(time.Second))
	case s != nil && s.Phase == api.Running && s.FinishedAt != nil:
		// It is about to be tried again. The controller of ApplicationSets asks for
		// another sync when one has failed, so that its end may not be seen.
		return operationFailed(s), true
	case a.Status.Health.Status == api.Degraded && compared(a, r) && fresh(a):
		return "degraded" + listed(complaints(a)), true
	}
	return "", false
}

func operationFailed(s *operationState) string {
	return "sync: " + delivery.Clean(s.Message) + listed(s.Failures())
}

type steps struct {
	*fanout
	release release
	// outcomes are those of the members, "" for one that is not reported.
	outcomes []protocol.Outcome
	began    time.Time
	// moved is when the last member came to its end.
	moved time.Time
	ended []bool
	// bad is since when something is wrong with a member, and broken since when
	// with the ApplicationSet.
	bad    map[int]time.Time
	broken time.Time
	// failed is when the first sync of a member that failed ended.
	failed map[int]time.Time
}

// follow waits until all members run the release. It ends with the first that
// cannot.
func (f *fanout) follow(ctx context.Context, r release, outcomes []protocol.Outcome) error {
	s := &steps{fanout: f, release: r, outcomes: outcomes, began: time.Now(), moved: time.Now(), ended: make([]bool, len(f.members)),
		bad: map[int]time.Time{}, failed: map[int]time.Time{}}
	ticker := time.NewTicker(time.Second + time.Duration(len(f.members))*10*time.Millisecond) // a list of many is large
	defer ticker.Stop()
	for {
		found, err := f.read(ctx)
		if err != nil {
			return err
		}
		if found == nil {
			return fmt.Errorf("%s was deleted meanwhile", f.set)
		}
		applications, err := f.applications(ctx)
		if err != nil {
			return err
		}
		done, err := s.look(found, applications)
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// look evaluates the members' Applications.
func (s *steps) look(found *appSet, applications map[string]*application) (done bool, err error) {
	running, wave, made := 0, 0, 0
	var failed []string
	for i, m := range s.members {
		a := applications[m.application]
		if s.wantsOf(a, s.release) {
			made++
		}
		if s.runs(a, s.release) {
			running++
			s.end(i)
			continue
		}
		if wave == 0 {
			wave = m.wave
		}
		if why := s.failure(i, a); why != "" {
			failed = append(failed, m.Name+": "+why)
			s.finish(i, protocol.OutcomeFailed, why)
		}
	}
	waves := s.members[len(s.members)-1].wave
	if wave > 0 {
		s.Progress(protocol.Event{Phase: "wave", Message: fmt.Sprintf("wave %d of %d,", wave, waves), Current: int64(running), Total: int64(len(s.members)), Unit: "clusters"})
	}
	switch {
	case len(failed) > 0:
		return false, fmt.Errorf("%d of %d clusters of target %q failed, in wave %d of %d%s", len(failed), len(s.members), s.Target, wave, waves, listed(failed))
	case running == len(s.members):
		return true, nil
	}
	return false, s.stuck(found, made)
}

// end reports that a member runs the release.
func (s *steps) end(i int) {
	if s.ended[i] {
		return
	}
	s.ended[i], s.moved = true, time.Now()
	if outcome := s.outcomes[i]; outcome != "" {
		s.finish(i, outcome, s.ends[i].Message)
	}
}

// began reports that an operation of Argo CD has put the release into force, or
// tried to.
func began(a *application, r release) bool {
	s := a.Status.OperationState
	return a.Operation != nil || s != nil && s.SyncResult != nil && equality.Semantic.DeepEqual(s.SyncResult.Source, r.Source)
}

// heals reports that no sync has failed: what is wrong with the health of objects,
// and with comparing them, can pass.
func heals(a *application) bool {
	s := a.Status.OperationState
	return a.Problem() != nil || s == nil || s.Phase != api.Failed && s.Phase != api.Error && (s.Phase != api.Running || s.FinishedAt == nil)
}

// failure is why a member cannot finish, once that is certain.
func (s *steps) failure(i int, a *application) string {
	why, lasting := s.trouble(a, s.release, s.began)
	if lasting && heals(a) && !s.hopeless(append(complaints(a), why)) {
		why = ""
	}
	if why == "" {
		if a == nil || a.Operation == nil {
			delete(s.bad, i)
		}
		return ""
	}
	if s.bad[i].IsZero() {
		s.bad[i] = time.Now()
	}
	if lasting && !s.failedAgain(i, a.Status.OperationState) && time.Since(s.bad[i]) < healthGrace {
		return ""
	}
	return why
}

// failedAgain reports a sync of the member that failed after another had.
func (s *steps) failedAgain(i int, o *operationState) bool {
	if o == nil || o.Phase == api.Succeeded || o.FinishedAt == nil || o.FinishedAt.Time.Before(s.began.Truncate(time.Second)) {
		return false
	}
	first, known := s.failed[i]
	if !known {
		s.failed[i] = o.FinishedAt.Time
	}
	return known && !first.Equal(o.FinishedAt.Time)
}

// stuck is the error of a rollout that makes no progress.
func (s *steps) stuck(found *appSet, made int) error {
	problem := found.problem()
	if problem == "" {
		s.broken = time.Time{}
	} else if s.broken.IsZero() {
		s.broken = time.Now()
	}
	switch {
	case problem != "" && time.Since(s.broken) > healthGrace:
		return fmt.Errorf("%s: %s", s.set, problem)
	case made == 0 && time.Since(s.began) > s.silence():
		return protocol.Retryable("Argo CD does not answer: its ApplicationSet controller did not process %s within %s", s.set, s.silence()).
			WithHint("does the ApplicationSet controller run, and does it watch namespace %s?", s.argo.namespace)
	case time.Since(s.moved) > s.settings.timeout:
		return fmt.Errorf("deploy %s to %s: no other cluster was finished within %s: %w", s.App.Name, s.Target, s.settings.timeout, context.DeadlineExceeded)
	}
	return nil
}
