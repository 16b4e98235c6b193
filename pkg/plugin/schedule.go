package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// schedule starts the work of every app that is ready for it.
func (r *run) schedule(ctx context.Context) {
	for again := true; again; {
		again = false
		for _, a := range r.order {
			if r.stopped || r.running >= r.inv.Parallel || !r.ready(a) {
				continue
			}
			switch failed, waiting := r.dependencies(a); {
			case failed != nil:
				r.failApp(a, &protocol.Error{Code: failed.code, Message: fmt.Sprintf("not started: it depends on %q, which failed", failed.id.Name)})
				again = true
			case !waiting:
				r.start(ctx, a)
			}
		}
	}
}

func (r *run) ready(a *app) bool {
	return a.pending && !a.running && !a.failed &&
		a.in.missing(r.stage.needs(a.in)) == "" &&
		(r.ended || a.in.missing(r.stage.Awaits) == "")
}

// dependencies looks at the apps that a depends on, as far as the stream has
// them: one that failed, or whether one is still to be waited for.
func (r *run) dependencies(a *app) (failed *app, waiting bool) {
	if !r.stage.Ordered {
		return nil, false
	}
	for _, name := range a.in.App.DependsOn {
		switch dependency := r.named(name); {
		case dependency == nil || !r.selected(dependency):
		case dependency.failed:
			return dependency, false
		case !dependency.done:
			waiting = true
		}
	}
	return nil, waiting
}

func (r *run) start(ctx context.Context, a *app) {
	err := r.stage.check(a.in)
	var work Work
	if err == nil {
		work, err = r.open(ctx)
	}
	if err != nil {
		r.failApp(a, err)
		return
	}
	a.pending, a.running = false, true
	r.running++
	in, id := a.in, a.id
	r.progress(protocol.Event{Metadata: id, Phase: protocol.PhaseStart})
	go func() {
		var failed error
		err := guard(func() error {
			return work(ctx, in, func(s protocol.Spec) {
				if err := r.emit(id, s); err != nil && failed == nil {
					failed = err
				}
			})
		})
		r.progress(protocol.Event{Metadata: id, Phase: protocol.PhaseEnd})
		r.finished <- finished{a, errors.Join(err, failed)}
	}()
}

// guard turns a panic of an adapter into an error: a failure in one app does not
// stop the others, and nobody is shown a stack trace.
func guard(work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &protocol.Error{Code: protocol.ExitFailed, Message: fmt.Sprintf("internal error: %v", p), Hint: "please report this"}
		}
	}()
	return work()
}

func (r *run) finish(ctx context.Context, f finished) {
	r.running--
	f.app.running, f.app.done = false, true
	if f.err == nil {
		return
	}
	if cause := context.Cause(ctx); cause != nil {
		f.err = &protocol.Error{Code: protocol.ExitCode(cause), Message: "interrupted", Err: f.err}
	}
	r.failApp(f.app, f.err)
}

// interrupt ends the run: work under way learns of it by its context, what has not
// started is not started any more.
func (r *run) interrupt(cause error) {
	r.ended, r.stopped = true, true
	code := protocol.ExitCode(cause)
	r.codes = append(r.codes, code)
	if code != protocol.ExitInterrupted && r.inv.Failed != nil {
		r.inv.Failed(protocol.FailureOf(protocol.Metadata{}, r.stage.Name, r.inv.Target, cause))
	}
	for _, a := range r.order {
		if a.pending && !a.running && !a.failed {
			r.failApp(a, &protocol.Error{Code: code, Message: "interrupted before it was started"})
		}
	}
}

// failIncomplete fails the apps that the stream has left without what this
// stage needs. It reports whether there was one: others may depend on it.
func (r *run) failIncomplete() bool {
	if r.stopped {
		return false
	}
	for _, a := range r.order {
		if a.failed || a.done && !a.pending || !r.selected(a) {
			continue
		}
		if missing := a.in.missing(r.stage.needs(a.in)); missing != "" {
			r.failApp(a, r.lacking(a, missing))
			return true
		}
		if !a.pending {
			continue
		}
		// All inputs are there and nothing runs: it waits for an app that waits
		// for it.
		r.failApp(a, r.cycle())
		return true
	}
	return false
}

func (r *run) lacking(a *app, kind protocol.Kind) error {
	if kind == protocol.KindImageRef && a.in.App.Name != "" && a.in.App.Image.IsNone() {
		return protocol.Unsupported("stage %s of plugin %s needs an image, and app %q has none", r.stage.Name, r.stage.PluginName(), a.id.Name)
	}
	err := protocol.Invalid("the documents on stdin end without its %s", kind).
		WithHint("stage %s needs %s; the stage before did not finish, or is missing in the pipe", r.stage.Name, joinKinds(r.stage.Needs))
	if r.projected {
		err = protocol.Invalid("it has no %s yet, and stdin has no documents", kind).
			WithHint("stage %s needs %s: run it in a pipe, after the stage that makes it", r.stage.Name, joinKinds(r.stage.Needs))
	}
	return err
}

func (r *run) cycle() error {
	var specs []protocol.AppSpec
	for _, a := range r.order {
		specs = append(specs, a.in.App)
	}
	_, err := capability.Order(specs)
	return err
}

func joinKinds(kinds []protocol.Kind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}
