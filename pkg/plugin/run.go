package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Run carries out the stage and returns the exit status, one of the Exit
// constants of package protocol. Every failure is written as a document and
// handed to inv.Failed; Run prints nothing.
func (s Stage) Run(ctx context.Context, inv Invocation) int {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if inv.Parallel <= 0 {
		inv.Parallel = 4
	}
	r := &run{
		stage: s, inv: inv, cancel: cancel,
		out:      protocol.NewWriter(inv.Stdout),
		apps:     map[protocol.Metadata]*app{},
		finished: make(chan finished),
	}
	return r.loop(ctx)
}

// run is the state of one Stage.Run. Only the loop's goroutine touches it; the
// workers write to out and send to finished.
type run struct {
	stage  Stage
	inv    Invocation
	cancel context.CancelCauseFunc
	out    *protocol.Writer

	apps     map[protocol.Metadata]*app
	order    []*app
	topology *protocol.Topology
	opened   opened
	running  int
	finished chan finished
	codes    []int
	// ended: no more documents come. stopped: no more work is started.
	ended, stopped bool
}

// app is one app of the stream.
type app struct {
	id protocol.Metadata
	in Inputs
	// pending: there are inputs that no work has seen yet.
	pending, running, done, failed bool
}

// opened is the work of the stage for one topology.
type opened struct {
	topology *protocol.Topology
	work     Work
	err      error
}

type finished struct {
	app *app
	err error
}

type message struct {
	document protocol.Document
	err      error
}

func (r *run) loop(ctx context.Context) int {
	documents := make(chan message)
	go r.read(ctx, documents)
	cancelled := ctx.Done()
	for {
		r.schedule(ctx)
		if r.ended && r.running == 0 {
			if r.failIncomplete() {
				continue
			}
			break
		}
		select {
		case m := <-documents:
			r.receive(m)
		case f := <-r.finished:
			r.finish(ctx, f)
		case <-cancelled:
			cancelled, documents = nil, nil
			r.interrupt(context.Cause(ctx))
		}
	}
	return protocol.WorstCode(r.codes...)
}

// read sends the documents of the stream, or those of the configuration, and at
// last io.EOF or what went wrong.
func (r *run) read(ctx context.Context, to chan<- message) {
	send := func(m message) bool {
		select {
		case to <- m:
			return m.err == nil
		case <-ctx.Done():
			return false
		}
	}
	if r.inv.Stdin == nil {
		documents, err := r.inv.Source(ctx, r.inv.Apps)
		for _, d := range documents {
			if !send(message{document: d}) {
				return
			}
		}
		if err == nil {
			err = io.EOF
		}
		send(message{err: err})
		return
	}
	reader := protocol.NewReader(r.inv.Stdin)
	for {
		d, err := reader.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			err = protocol.Invalid("stdin, %w", err).WithHint("stdin takes the documents of another stage; use </dev/null to read the project's configuration")
		}
		if !send(message{d, err}) {
			return
		}
	}
}

func (r *run) receive(m message) {
	switch {
	case m.err == nil:
		r.accept(m.document)
	case errors.Is(m.err, io.EOF):
		r.ended = true
		r.checkSelection()
	default:
		r.ended, r.stopped = true, true
		r.fail(protocol.Metadata{}, m.err)
	}
}

// accept forwards a document and takes from it what this stage needs.
func (r *run) accept(d protocol.Document) {
	r.write(d, true)
	if !d.Known() {
		return
	}
	switch d.Kind {
	case protocol.KindTopology:
		topology, err := protocol.Decode[protocol.Topology](d)
		if err != nil {
			r.stopped = true
			r.fail(protocol.Metadata{}, protocol.Invalid("%w", err))
			return
		}
		r.topology = &topology
	case protocol.KindFailure:
		r.forwardFailure(d)
	case protocol.KindAppSpec, protocol.KindImageRef, protocol.KindChartRef, protocol.KindDeployResult:
		a := r.app(d.Metadata)
		if err := r.input(a, d); err != nil {
			r.failApp(a, protocol.Invalid("%w", err))
		}
	}
}

// app returns the state of an app of the stream.
func (r *run) app(id protocol.Metadata) *app {
	a, ok := r.apps[id]
	if !ok {
		a = &app{id: id}
		r.apps[id] = a
		r.order = append(r.order, a)
	}
	return a
}

// input takes a document into the inputs of its app.
func (r *run) input(a *app, d protocol.Document) error {
	switch d.Kind {
	case protocol.KindAppSpec:
		spec, err := protocol.Decode[protocol.AppSpec](d)
		if err != nil {
			return err
		}
		if err := spec.Validate(); err != nil {
			return fmt.Errorf("AppSpec of %q: %w", a.id.Name, err)
		}
		if spec.Version == "" {
			return fmt.Errorf("AppSpec of %q has no metadata.version", a.id.Name)
		}
		a.in.App = spec
	case protocol.KindImageRef:
		image, err := protocol.Decode[protocol.ImageRef](d)
		if err != nil {
			return err
		}
		if image.Planned && !r.inv.DryRun {
			return fmt.Errorf("ImageRef of %q is of a dry run", a.id.Name)
		}
		a.in.Image = &image
	case protocol.KindChartRef:
		chart, err := protocol.Decode[protocol.ChartRef](d)
		if err != nil {
			return err
		}
		if chart.Planned && !r.inv.DryRun {
			return fmt.Errorf("ChartRef of %q is of a dry run", a.id.Name)
		}
		a.in.Chart = &chart
	case protocol.KindDeployResult:
		result, err := protocol.Decode[protocol.DeployResult](d)
		if err != nil {
			return err
		}
		if r.inv.Target != "" && result.Target != r.inv.Target {
			return nil
		}
		if a.in.Deployed == nil {
			a.in.Deployed = map[string]protocol.DeployResult{}
		}
		a.in.Deployed[result.Target] = result
	}
	if slices.Contains(r.stage.Needs, d.Kind) || slices.Contains(r.stage.Awaits, d.Kind) {
		a.pending = r.selected(a)
	}
	return nil
}

// selected reports whether the arguments let the stage work on the app.
func (r *run) selected(a *app) bool {
	return r.inv.Stdin == nil || len(r.inv.Apps) == 0 || slices.Contains(r.inv.Apps, a.id.Name)
}

// checkSelection fails for a stream that lacks what was asked for.
func (r *run) checkSelection() {
	if len(r.codes) > 0 {
		return
	}
	if len(r.order) == 0 {
		r.fail(protocol.Metadata{}, protocol.Invalid("no AppSpec on stdin").
			WithHint("stdin takes the documents of another stage; use </dev/null to read the project's configuration"))
		return
	}
	if r.inv.Stdin == nil {
		return
	}
	for _, name := range r.inv.Apps {
		if r.named(name) == nil {
			r.fail(protocol.Metadata{Name: name}, protocol.Invalid("app %q is not among the documents on stdin", name))
		}
	}
}

// named is the last app of that name, whatever its version.
func (r *run) named(name string) *app {
	for _, a := range slices.Backward(r.order) {
		if a.id.Name == name {
			return a
		}
	}
	return nil
}

func (r *run) forwardFailure(d protocol.Document) {
	failure, err := protocol.Decode[protocol.Failure](d)
	if err != nil {
		r.fail(d.Metadata, protocol.Invalid("%w", err))
		failure.Code = protocol.ExitFailed
	}
	if failure.Code == protocol.ExitOK {
		failure.Code = protocol.ExitFailed
	}
	r.codes = append(r.codes, failure.Code)
	if d.Metadata.Name == "" {
		r.stopped = true
		return
	}
	r.app(d.Metadata).failed = true
	for _, a := range r.order {
		if a.id.Name == d.Metadata.Name && d.Metadata.Version == "" {
			a.failed = true
		}
	}
}

// schedule starts the work of every app that is ready for it.
func (r *run) schedule(ctx context.Context) {
	for again := true; again; {
		again = false
		for _, a := range r.order {
			if r.stopped || r.running >= r.inv.Parallel || !r.ready(a) {
				continue
			}
			switch failed, waiting := r.dependencies(a); {
			case failed != "":
				r.failApp(a, &protocol.Error{Code: r.codeOf(failed), Message: fmt.Sprintf("not started: it depends on %q, which failed", failed)})
				again = true
			case !waiting:
				r.start(ctx, a)
			}
		}
	}
}

func (r *run) ready(a *app) bool {
	return a.pending && !a.running && !a.failed &&
		a.in.missing(r.stage.Needs) == "" &&
		(r.ended || a.in.missing(r.stage.Awaits) == "")
}

// dependencies looks at the apps that a depends on, as far as the stream has
// them: one that failed, or whether one is still to be waited for.
func (r *run) dependencies(a *app) (failed string, waiting bool) {
	if !r.stage.Ordered {
		return "", false
	}
	for _, name := range a.in.App.DependsOn {
		switch dependency := r.named(name); {
		case dependency == nil || !r.selected(dependency):
		case dependency.failed:
			return name, false
		case !dependency.done:
			waiting = true
		}
	}
	return "", waiting
}

// codeOf is the status under which an app's failure ends its dependents: that
// of the run so far.
func (r *run) codeOf(string) int {
	return max(protocol.ExitFailed, protocol.WorstCode(r.codes...))
}

func (r *run) start(ctx context.Context, a *app) {
	work, err := r.open(ctx)
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

// guard turns a panic of an adapter into an error: one app's trouble does not
// stop the others, and nobody is shown a stack trace.
func guard(work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &protocol.Error{Code: protocol.ExitFailed, Message: fmt.Sprintf("internal error: %v", p), Hint: "please report this"}
		}
	}()
	return work()
}

// emit writes a result under the identity of its app.
func (r *run) emit(id protocol.Metadata, s protocol.Spec) error {
	d, err := protocol.NewDocument(s.DocumentKind(), id, s)
	if err != nil {
		return err
	}
	return r.write(d, false)
}

// write writes a document. A reader that has gone away ends the run: nobody
// would see the rest of its work.
func (r *run) write(d protocol.Document, forwarded bool) error {
	if err := r.out.Write(d); err != nil {
		err = &protocol.Error{Code: protocol.ExitFailed, Message: "write to stdout", Err: err}
		r.cancel(err)
		return err
	}
	if r.inv.Observe != nil {
		r.inv.Observe(d, forwarded)
	}
	return nil
}

// open opens the stage for the topology in force, once.
func (r *run) open(ctx context.Context) (Work, error) {
	if r.topology == nil {
		if r.inv.Topology == nil {
			return nil, protocol.Invalid("no Topology on stdin")
		}
		topology, err := r.inv.Topology(ctx)
		if err != nil {
			return nil, err
		}
		r.topology = &topology
	}
	if r.opened.topology == r.topology {
		return r.opened.work, r.opened.err
	}
	r.opened = opened{topology: r.topology}
	if err := r.topology.Validate(); err != nil {
		r.opened.err = protocol.Invalid("Topology %q: %w", r.topology.Name, err)
		return nil, r.opened.err
	}
	r.opened.work, r.opened.err = r.stage.Open(ctx, Environment{
		Topology: *r.topology, Target: r.inv.Target, DryRun: r.inv.DryRun, Cache: r.inv.Cache,
		Progress: r.progress,
	})
	return r.opened.work, r.opened.err
}

func (r *run) progress(e protocol.Event) {
	if r.inv.Events == nil {
		return
	}
	e.Stage = r.stage.Name
	if e.Target == "" {
		e.Target = r.inv.Target
	}
	r.inv.Events(e)
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

// interrupt ends the run: what works is told so by its context, what has not
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
		if !a.pending || a.failed {
			continue
		}
		if missing := a.in.missing(r.stage.Needs); missing != "" {
			r.failApp(a, protocol.Invalid("the documents on stdin end without its %s", missing).
				WithHint("stage %s needs %s; the stage before did not finish, or is missing in the pipe", r.stage.Name, joinKinds(r.stage.Needs)))
			return true
		}
		r.failApp(a, protocol.Invalid("it depends on itself by way of %s", strings.Join(a.in.App.DependsOn, ", ")))
		return true
	}
	return false
}

func joinKinds(kinds []protocol.Kind) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, ", ")
}

func (r *run) failApp(a *app, err error) {
	a.failed = true
	r.fail(a.id, err)
}

// fail tells a failure: as a document, to a person, and by the exit status. A
// document that cannot be written any more still tells by the latter two.
func (r *run) fail(id protocol.Metadata, err error) {
	failure := protocol.FailureOf(id, r.stage.Name, r.inv.Target, err)
	r.codes = append(r.codes, failure.Code)
	if r.inv.Failed != nil {
		r.inv.Failed(failure)
	}
	if err := r.emit(id, failure); err != nil && r.inv.Failed != nil {
		r.inv.Failed(protocol.FailureOf(id, r.stage.Name, r.inv.Target, err))
	}
}
