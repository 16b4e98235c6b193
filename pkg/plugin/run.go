package plugin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"slices"
	"time"

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
	// projected: the documents are the project's, not those of Stdin. ended: no more
	// documents come. stopped: no more work is started.
	projected, ended, stopped bool
}

type app struct {
	id protocol.Metadata
	in Inputs
	// pending: there are inputs that no work has seen yet.
	pending, running, done, failed bool
	// code is the exit status of a failed app.
	code int
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

func (r *run) loop(ctx context.Context) int {
	arrivals := make(chan func())
	go r.read(ctx, arrivals)
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
		case take := <-arrivals:
			take()
		case f := <-r.finished:
			r.finish(ctx, f)
		case <-cancelled:
			cancelled, arrivals = nil, nil
			r.interrupt(context.Cause(ctx))
		}
	}
	r.close(ctx)
	return protocol.WorstCode(r.codes...)
}

// close ends the stage. What a stage holds that was cancelled may end badly.
func (r *run) close(ctx context.Context) {
	if r.stage.Close == nil {
		return
	}
	if err := r.stage.Close(); err != nil && ctx.Err() == nil {
		r.fail(protocol.Metadata{}, err)
	}
}

// read sends what the loop has to do for each document of the stream, or for the
// project, and at the end.
func (r *run) read(ctx context.Context, to chan<- func()) {
	send := func(take func()) bool {
		select {
		case to <- take:
			return true
		case <-ctx.Done():
			return false
		}
	}
	stream := r.stream(ctx)
	if ctx.Err() != nil {
		return // the first byte may still be waited for
	}
	if stream == nil {
		// All at once: later stages see every app, and so every dependency, before
		// the first result.
		topology, apps, err := r.inv.Source(ctx, r.inv.Apps)
		send(func() {
			if err == nil {
				r.begin(topology, apps)
			}
			r.end(ctx, err)
		})
		return
	}
	reader := protocol.NewReader(stream)
	for {
		d, err := reader.Next()
		switch {
		case errors.Is(err, io.EOF):
			send(func() { r.end(ctx, nil) })
			return
		case err != nil:
			send(func() { r.end(ctx, protocol.Invalid("stdin, %w", err).WithHint(noDocuments)) })
			return
		case !send(func() { r.accept(ctx, d); r.prepare(ctx) }):
			return
		}
	}
}

const noDocuments = "stdin takes the documents of another stage; use </dev/null to read the project's configuration"

// stream is Stdin, or nil where the project is to be read: there is none, or it is
// one that nobody writes to.
func (r *run) stream(ctx context.Context) io.Reader {
	if r.inv.Stdin == nil || r.inv.Source == nil {
		return r.inv.Stdin
	}
	in := bufio.NewReaderSize(r.inv.Stdin, 64<<10)
	first := make(chan error, 1)
	go func() {
		_, err := in.Peek(1)
		first <- err
	}()
	var over <-chan time.Time
	if r.inv.Patience > 0 {
		over = time.After(r.inv.Patience)
	}
	select {
	case err := <-first:
		if errors.Is(err, io.EOF) {
			return nil
		}
	case <-over:
		return nil
	case <-ctx.Done():
	}
	return in
}

// end is called after the last document, or when there are no more because of err.
func (r *run) end(ctx context.Context, err error) {
	r.ended = true
	if err != nil {
		r.stopped = true
		r.fail(protocol.Metadata{}, err)
		return
	}
	r.prepare(ctx)
	r.checkSelection()
}

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

// prepare opens the stage when there is an app for it. What is wrong is reported by
// the work that cannot start.
func (r *run) prepare(ctx context.Context) {
	if r.stopped || r.topology == nil {
		return
	}
	wanted := func(a *app) bool { return a.in.App.Name != "" && !a.failed && r.selected(a) }
	if slices.ContainsFunc(r.order, wanted) {
		_, _ = r.open(ctx)
	}
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
	if r.opened.err = r.stage.Info(nil).CheckTarget(*r.topology, r.inv.Target); r.opened.err != nil {
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

func (r *run) failApp(a *app, err error) {
	a.failed, a.code = true, protocol.ExitCode(err)
	r.fail(a.id, err)
}

// fail reports a failure: as a document, to a person, and by the exit status. The
// latter two remain when the document can no longer be written.
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
