package argocd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

type following struct {
	*deployment
	asked time.Time
	// blocked is since when a sync window holds the operation.
	blocked time.Time
	// told contains what was reported already.
	told map[string]bool
	last string
	// watched are the objects whose problems end the operation early, problem
	// receives one, and cancel ends that.
	watched []reference
	problem chan error
	cancel  context.CancelFunc
}

func (f *following) stop() {
	if f.cancel != nil {
		f.cancel()
		<-f.problem
	}
}

// windowMessage is what the controller says of a sync that has to wait for a
// window of its project.
const windowMessage = "blocked by sync window"

// look evaluates the operation; s is nil until the controller starts it.
func (f *following) look(ctx context.Context, found *application, s *operationState, revision string) (done bool, err error) {
	if s == nil {
		if time.Since(f.asked) > f.silence() {
			return false, &refusal{f.silent()}
		}
		return false, nil
	}
	f.tell(s)
	switch s.Phase {
	case api.Succeeded:
		if got := f.revisionOf(found, s); got != revision {
			return false, fmt.Errorf("%s: Argo CD synced %s instead of %s", f.argo, got, revision)
		}
		return true, nil
	case api.Failed, api.Error:
		return false, f.failed(ctx, found, s)
	}
	if err := f.window(found, s); err != nil {
		return false, err
	}
	return false, f.watch(ctx, s)
}

// window is the error of an operation that a sync window holds. The controller
// takes a manual sync for an automated one at its first look.
func (f *following) window(found *application, s *operationState) error {
	if !strings.Contains(s.Message, windowMessage) {
		f.blocked = time.Time{}
		return nil
	}
	if f.blocked.IsZero() {
		f.blocked = time.Now()
	}
	if time.Since(f.blocked) < windowGrace {
		return nil
	}
	return &refusal{protocol.Retryable("%s: a sync window of AppProject %q does not allow a sync now", f.argo, found.Spec.Project).
		WithHint("run it again when the window is open, or allow manualSync in the window")}
}

// tell passes on what Argo CD says about the operation and its objects, each
// thing once.
func (f *following) tell(s *operationState) {
	message := s.Message
	if s.Phase == api.Running && s.FinishedAt != nil {
		message = "will be tried again: " + message
	}
	if message != "" && message != f.last {
		f.last = message
		f.Say("sync", "%s: %s", strings.ToLower(s.Phase), message)
	}
	if s.SyncResult == nil {
		return
	}
	if f.told == nil {
		f.told = map[string]bool{}
	}
	for _, r := range s.SyncResult.Resources {
		line := r.String()
		if f.told[line] {
			continue
		}
		f.told[line] = true
		f.Progress(protocol.Event{
			Phase: "sync", Current: int64(len(f.told)), Total: int64(max(len(s.SyncResult.Resources), len(f.told))), Unit: "objects", Message: delivery.Clean(line),
		})
	}
}

// failed is the error of an operation that came to a bad end. One that applied
// nothing is a refusal.
func (f *following) failed(ctx context.Context, found *application, s *operationState) error {
	var hooks []reference
	applied := false
	if s.SyncResult != nil {
		for _, r := range s.SyncResult.Resources {
			if r.Bad() && r.HookType != "" {
				hooks = append(hooks, r.Reference)
			}
			applied = applied || r.Status == api.Synced || r.HookType != "" || r.HookPhase != ""
		}
	}
	if c := found.Problem(); c != nil && !applied {
		return &refusal{f.complaint(*c)}
	}
	err := fmt.Errorf("sync of %s: %s%s", f.argo, delivery.Clean(s.Message), listed(s.Failures()))
	if reason := f.reason(ctx, hooks); reason != nil {
		err = fmt.Errorf("%w\n%w", err, reason)
	}
	if !applied {
		return &refusal{err}
	}
	return err
}

// listed writes lines below an error, at most ten of them.
func listed(lines []string) string { return term.Listed(lines, 10) }

// reason looks for why hooks failed: their events and last log lines. It may
// find none.
func (f *following) reason(ctx context.Context, hooks []reference) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	workloads, _, err := f.workloads(ctx, hooks)
	if err != nil || len(workloads) == 0 {
		return nil // the error of the operation says enough
	}
	err = rollout.Wait(ctx, f.Client, workloads, rollout.Options{FailOnly: true, FailFast: true})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// watch looks for problems of what the running operation has applied so far and
// waits for, for Argo CD itself waits without an end.
func (f *following) watch(ctx context.Context, s *operationState) error {
	select {
	case err := <-f.problem:
		f.cancel, f.problem = nil, nil
		return err
	default:
	}
	if s.Phase != api.Running || s.SyncResult == nil {
		return nil
	}
	var waits []reference
	for _, r := range s.SyncResult.Resources {
		if r.HookPhase == api.Running {
			waits = append(waits, r.Reference)
		}
	}
	if len(waits) == 0 || slices.Equal(waits, f.watched) {
		return nil
	}
	f.stop()
	f.watched = waits
	workloads, _, err := f.workloads(ctx, waits)
	if err != nil || len(workloads) == 0 {
		f.cancel, f.problem = nil, nil
		return err
	}
	watched, cancel := context.WithCancel(ctx)
	problem := make(chan error, 2)
	f.cancel, f.problem = cancel, problem
	go func() {
		err := rollout.Wait(watched, f.Client, workloads, rollout.Options{FailOnly: true, FailFast: f.settings.failFast, Progress: delivery.Rollout(f.Progress, "hook")})
		if watched.Err() == nil {
			problem <- err
		}
		close(problem)
	}()
	return nil
}

// late adds the progress of the operation to an expired deadline.
func (f *following) late(err error) error {
	if !errors.Is(err, context.DeadlineExceeded) || f.last == "" {
		return err
	}
	return fmt.Errorf("sync of %s: %s: %w", f.argo, delivery.Clean(f.last), err)
}
