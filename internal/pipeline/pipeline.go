// Package pipeline runs the scores of a release over stage processes: which
// steps there are, in which order, for which apps side by side, and what a
// failure stops.
//
// The scores do not know that the capabilities they call are processes: the
// proxies in this package implement the interfaces of pkg/capability.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// step is the scores of one title, for all apps: they run side by side, and the
// next step starts when all have ended.
type step struct {
	// stage and target are those of an app that is not started.
	stage, target string
	scores        []capability.Score
	// ordered: an app's score waits for those of the apps it depends on.
	ordered bool
	// left takes the apps whose score has ended or is left out; may be nil.
	left func(app string)
}

type outcome struct {
	mu       sync.Mutex
	failed   map[string]int // app → exit status
	paused   map[string]bool
	onFailed func(protocol.Failure)
}

func (o *outcome) code(app string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed[app]
}

// pause leaves an app out of later steps whose deploy is paused.
func (o *outcome) pause(app string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.paused[app] = true
}

func (o *outcome) isPaused(app string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.paused[app]
}

func (o *outcome) fail(app protocol.AppSpec, err error) {
	stage := &capability.StageError{}
	errors.As(err, &stage)
	failure := protocol.FailureOf(app.Metadata, stage.Stage, stage.Target, err)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed[app.Name] = failure.Code
	o.onFailed(failure)
}

func (o *outcome) worst() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	code := protocol.ExitOK
	for _, c := range o.failed {
		code = protocol.WorstCode(code, c)
	}
	return code
}

// run runs the scores of a step. An app that failed in an earlier one is left out,
// and so are the apps that depend on it; and so is one whose deploy is paused.
func (s step) run(ctx context.Context, record *capability.Record, out *outcome) {
	done := map[string]chan struct{}{}
	for _, score := range s.scores {
		done[score.App().Name] = make(chan struct{})
	}
	var all sync.WaitGroup
	for _, score := range s.scores {
		all.Go(func() {
			app := score.App()
			defer close(done[app.Name])
			if s.left != nil {
				defer s.left(app.Name)
			}
			if out.code(app.Name) != protocol.ExitOK || out.isPaused(app.Name) {
				return
			}
			if err := s.await(ctx, app, done, out); err != nil {
				out.fail(app, &capability.StageError{Stage: s.stage, Target: s.target, Err: interruption(err)})
				return
			}
			switch err := score.Run(ctx, record); {
			case errors.Is(err, errPaused):
				out.pause(app.Name)
			case err != nil:
				out.fail(app, interrupted(ctx, err))
			}
		})
	}
	all.Wait()
}

// await waits for the apps that an app depends on, in this step, and fails with
// the status of one that failed.
func (s step) await(ctx context.Context, app protocol.AppSpec, done map[string]chan struct{}, out *outcome) error {
	if !s.ordered {
		return context.Cause(ctx)
	}
	for _, name := range app.DependsOn {
		dependency, ok := done[name]
		if !ok {
			continue
		}
		select {
		case <-dependency:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if code := out.code(name); code != protocol.ExitOK {
			return &protocol.Error{Code: code, Message: fmt.Sprintf("not started: it depends on %q, which failed", name)}
		}
		if out.isPaused(name) {
			return protocol.Retryable("not started: it depends on %q, whose rollout is paused", name)
		}
	}
	return context.Cause(ctx)
}

// interrupted makes an interruption of whatever went wrong after the context
// was cancelled, keeping the place.
func interrupted(ctx context.Context, err error) error {
	if _, told := errors.AsType[interruptedBack](err); told || ctx.Err() == nil {
		return err
	}
	var stage *capability.StageError
	if !errors.As(err, &stage) {
		return interruption(err)
	}
	return &capability.StageError{Stage: stage.Stage, Target: stage.Target, Err: &protocol.Error{Code: protocol.ExitInterrupted, Message: "interrupted"}}
}

func interruption(err error) error {
	if errors.Is(err, context.Canceled) {
		return &protocol.Error{Code: protocol.ExitInterrupted, Message: "interrupted before it was started"}
	}
	return err
}
