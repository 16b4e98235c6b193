package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/proof"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Explain adds the server to an error, and distinguishes the deadline of the call, which
// had the time limit, from the user's interruption of ctx. what says what was
// done: deploy app to staging.
func Explain(ctx context.Context, c *conn.Conn, what string, limit time.Duration, err error) error {
	var told *protocol.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return fmt.Errorf("%s: %w", what, errors.Join(ctx.Err(), err))
	case errors.As(err, &told) || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
		return c.Explain(err)
	}
	return fmt.Errorf("%s: not done after %s: %w", what, limit, err)
}

// The pauses between two attempts of [Retry]: they grow up to the longest.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// Retry repeats a call while the API server answers that it is busy, or not at
// all, for at most the time given. Each attempt comes after a longer pause. The
// call does no harm when it is made twice.
func Retry(ctx context.Context, c *conn.Conn, atMost time.Duration, progress func(protocol.Event), call func() error) error {
	start := time.Now()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := call()
		if err == nil || ctx.Err() != nil || conn.Terminating(err) {
			return err
		}
		explained := c.Explain(err)
		if protocol.ExitCode(explained) != protocol.ExitRetryable || time.Since(start)+pause > atMost {
			return err
		}
		if pause == firstPause {
			progress(protocol.Event{Phase: "wait", Message: explained.Error()})
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(ctx.Err(), err)
		case <-timer.C:
		}
	}
}

// Retried is the value of a call that retry repeats, as [Retry] does.
func Retried[T any](ctx context.Context, retry func(context.Context, func() error) error, call func(context.Context) (T, error)) (value T, err error) {
	err = retry(ctx, func() (err error) {
		value, err = call(ctx)
		return err
	})
	return value, err
}

// Worst is the first of the errors that are not nil, with the worst status of
// them all; nil when there is none.
func Worst(errs []error) error {
	var first error
	codes := make([]int, len(errs))
	for i, err := range errs {
		codes[i] = protocol.ExitCode(err)
		first = cmp.Or(first, err)
	}
	if worst := protocol.WorstCode(codes...); first != nil && worst != protocol.ExitCode(first) {
		return &protocol.Error{Code: worst, Err: first, Hint: protocol.HintOf(first)}
	}
	return first
}

// Together is one error that tells them all, with the worst of their statuses; nil
// when there is none.
func Together(errs []error) error {
	if len(errs) < 2 {
		return Worst(errs)
	}
	lines, codes := make([]string, len(errs)), make([]int, len(errs))
	for i, err := range errs {
		lines[i], codes[i] = err.Error(), protocol.ExitCode(err)
	}
	return &protocol.Error{Code: protocol.WorstCode(codes...), Message: strings.Join(lines, "\n"), Hint: protocol.HintOf(errs[0])}
}

// Also adds to a failure what went wrong after it. The exit status and the hint
// stay those of the failure.
func Also(failure error, what string, err error) error {
	both := fmt.Errorf("%w\n%s: %w", failure, what, err)
	if code := protocol.ExitCode(failure); code != protocol.ExitCode(both) {
		return &protocol.Error{Code: code, Err: both, Hint: protocol.HintOf(failure)}
	}
	return both
}

// Progress is the environment's, for an app.
func Progress(env capability.Environment, app protocol.AppSpec) func(protocol.Event) {
	return func(e protocol.Event) {
		e.Metadata = app.Metadata
		env.Progress(e)
	}
}

// Rollout passes the status of a workload on as an event of the phase.
func Rollout(progress func(protocol.Event), phase string) func(rollout.Workload, rollout.Status) {
	return func(w rollout.Workload, s rollout.Status) {
		progress(protocol.Event{Phase: phase, Current: s.ReadyPods, Total: s.Pods, Unit: "pods", Message: w.String() + ": " + s.Message})
	}
}

// Reported puts drift that is only reported into the result, and shows it.
func Reported(progress func(protocol.Event), result protocol.DeployResult, drift []string) protocol.DeployResult {
	result.Drift = drift
	if len(drift) > 0 {
		progress(protocol.Event{Phase: "drift", Message: strings.Join(drift, ", ")})
	}
	return result
}

// Drifted adds to an error what somebody changed of the release.
func Drifted(err error, drift []string) error {
	return fmt.Errorf("%w\nsomebody changed the release, which is only reported (drift: report): %s", err, strings.Join(drift, ", "))
}

// Held is the result of a deploy that ended with an error, where that only says that
// the rollout is on hold as its own controller was told: the outcome is
// protocol.OutcomePaused then, and no error.
func (c *Call) Held(result protocol.DeployResult, err error) (protocol.DeployResult, error) {
	var held *rollout.HeldError
	switch {
	case err == nil:
		return result, nil
	case !errors.As(err, &held):
		return protocol.DeployResult{}, err
	}
	result.Outcome, result.Message = protocol.OutcomePaused, held.Error()
	c.Say("paused", "%s", result.Message)
	if slices.ContainsFunc(held.Holds, func(h rollout.Hold) bool { return h.For == rollout.ForApproval }) {
		c.Say("paused", "to let a Rollout go on: harmony rollout resume %s --target %s", c.App.Name, c.Target)
	}
	return result, nil
}

// Ready reports that every workload is ready.
func Ready(snapshots []rollout.Snapshot) (bool, error) {
	for _, s := range snapshots {
		if found, err := rollout.StatusOf(s); err != nil || !found.Ready {
			return false, err
		}
	}
	return true, nil
}

// Runs reports that every workload is ready, and that the images run in those of
// the objects. What speaks against an image is told, and is no error.
func (c *Call) Runs(ctx context.Context, workloads []rollout.Workload, objects proof.Objects) (bool, error) {
	snapshots, err := rollout.Read(ctx, c.Client, workloads)
	if err != nil {
		return false, err
	}
	if ready, err := Ready(snapshots); err != nil || !ready {
		return false, err
	}
	proven, err := proof.NewProver(c.App.Name, c.Image).Proven(ctx, objects, snapshots)
	if err != nil {
		c.Say("look", "%v", err)
	}
	return proven && err == nil, nil
}

// TellUnproven says of an app without an image of its own which of its images are
// not proven, because the chart does not pin them.
func (c *Call) TellUnproven(objects []*unstructured.Unstructured) {
	if !c.Image.IsNone() {
		return
	}
	if loose := proof.Loose(objects); len(loose) > 0 {
		c.Say(protocol.PhaseExplain, "not proven to run, for the chart names no digest: %s", strings.Join(loose, ", "))
	}
}

// ReplaceStuck deletes pods that their controller tries again after ever longer
// pauses, so that what was mended meanwhile is seen at once.
func ReplaceStuck(ctx context.Context, client kubernetes.Interface, workloads []rollout.Workload) error {
	snapshots, err := rollout.Read(ctx, client, workloads)
	if err != nil {
		return err
	}
	for _, s := range snapshots {
		for _, pod := range s.Stuck() {
			options := metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))}
			if err := client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, options); err != nil {
				return fmt.Errorf("replace pod %s: %w", pod.Name, err)
			}
		}
	}
	return nil
}
