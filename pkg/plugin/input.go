package plugin

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/nationtech/harmony/pkg/protocol"
)

// begin writes the documents of the project, which were validated when they were
// read, and takes them as they are.
func (r *run) begin(topology protocol.Topology, apps []protocol.AppSpec) {
	r.projected = true
	r.topology = &topology
	specs := []protocol.Spec{topology}
	for _, spec := range apps {
		specs = append(specs, spec)
	}
	for _, s := range specs {
		d, err := protocol.Encode(s)
		if err != nil {
			r.stopped = true
			r.fail(protocol.Metadata{}, protocol.Invalid("%w", err))
			return
		}
		_ = r.write(d, true) // it ends the run
		if spec, ok := s.(protocol.AppSpec); ok {
			a := r.app(spec.Metadata)
			a.in.App, a.pending = spec, true
		}
	}
}

// accept forwards a document and takes from it what this stage needs.
func (r *run) accept(ctx context.Context, d protocol.Document) {
	_ = r.write(d, true) // it ends the run
	if !d.Known() {
		return
	}
	switch d.Kind {
	case protocol.KindTopology:
		topology, err := vetted[protocol.Topology](ctx, r, d)
		if err != nil {
			r.stopped = true
			r.fail(protocol.Metadata{}, invalid(err))
			return
		}
		r.topology = &topology
	case protocol.KindFailure:
		r.forwardFailure(d)
	case protocol.KindSmokeReport:
		if a := r.apps[d.Metadata]; a != nil {
			a.checked(d)
		}
	case protocol.KindAppSpec, protocol.KindImageRef, protocol.KindChartRef, protocol.KindDeployResult, protocol.KindMigrationReport:
		a := r.app(d.Metadata)
		if err := r.input(ctx, a, d); err != nil {
			r.failApp(a, invalid(err))
		}
	}
}

// vetted decodes a document and asks [Invocation.Vet].
func vetted[S protocol.Spec, P protocol.Decodable[S]](ctx context.Context, r *run, d protocol.Document) (S, error) {
	s, err := protocol.Decode[S, P](d)
	if err == nil && r.inv.Vet != nil {
		err = r.inv.Vet(ctx, s)
	}
	return s, err
}

// invalid gives an error without a status of its own that of invalid input.
func invalid(err error) error {
	if _, ok := errors.AsType[*protocol.Error](err); ok {
		return err
	}
	return protocol.Invalid("%w", err)
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
func (r *run) input(ctx context.Context, a *app, d protocol.Document) (err error) {
	planned := false
	switch d.Kind {
	case protocol.KindAppSpec:
		a.in.App, err = appOf(d)
	case protocol.KindImageRef:
		var image protocol.ImageRef
		image, err = vetted[protocol.ImageRef](ctx, r, d)
		a.in.Image, planned = &image, image.Planned
	case protocol.KindChartRef:
		var chart protocol.ChartRef
		chart, err = vetted[protocol.ChartRef](ctx, r, d)
		a.in.Chart, planned = &chart, chart.Planned
	case protocol.KindMigrationReport:
		var report protocol.MigrationReport
		report, err = protocol.Decode[protocol.MigrationReport](d)
		if err != nil || !report.Passed || r.inv.Target != "" && report.Target != r.inv.Target {
			return err // the Failure of one that did not pass follows
		}
		a.in.Migrated, planned = true, report.Planned
	case protocol.KindDeployResult:
		if whole, err := r.deployed(a, d); err != nil || !whole {
			return err
		}
	}
	switch {
	case err != nil:
		return err
	case planned && !r.inv.DryRun:
		return fmt.Errorf("%s of %q is of a dry run", d.Kind, a.id.Name)
	case slices.Contains(r.stage.Needs, d.Kind), slices.Contains(r.stage.Awaits, d.Kind):
		a.pending = r.selected(a)
	}
	return nil
}

// deployed takes the result of a deploy, and reports whether it is that of a whole
// target. One of another target is left out, and so is one of a deploy that failed: its
// Failure follows.
func (r *run) deployed(a *app, d protocol.Document) (whole bool, err error) {
	result, err := protocol.Decode[protocol.DeployResult](d)
	if err == nil && result.Outcome == protocol.OutcomePaused && result.Cluster == "" {
		// It is no failure, but nothing more is done with the app.
		a.failed, a.code = true, protocol.ExitRetryable
		return false, nil
	}
	if err != nil || r.inv.Target != "" && result.Target != r.inv.Target {
		return false, err
	}
	if result.Cluster != "" {
		if a.in.Clusters == nil {
			a.in.Clusters = map[string][]protocol.DeployResult{}
		}
		// The work of another goroutine may have the list that was there.
		list := slices.DeleteFunc(slices.Clone(a.in.Clusters[result.Target]), func(o protocol.DeployResult) bool { return o.Cluster == result.Cluster })
		a.in.Clusters[result.Target] = append(list, result)
		return false, nil
	}
	if !result.Outcome.Delivered() {
		return false, nil
	}
	if a.in.Deployed == nil {
		a.in.Deployed = map[string]protocol.DeployResult{}
	}
	a.in.Deployed[result.Target] = result
	return true, nil
}

// checked takes a report that can be read.
func (a *app) checked(d protocol.Document) {
	report, err := protocol.Decode[protocol.SmokeReport](d)
	if err != nil {
		return
	}
	if a.in.Checked == nil {
		a.in.Checked = map[string]protocol.SmokeReport{}
	}
	a.in.Checked[report.Target] = report
}

func appOf(d protocol.Document) (protocol.AppSpec, error) {
	spec, err := protocol.Decode[protocol.AppSpec](d)
	if err != nil {
		return spec, err
	}
	if err := spec.Validate(); err != nil {
		return spec, fmt.Errorf("AppSpec of %q: %w", d.Metadata.Name, err)
	}
	if spec.Version == "" {
		return spec, fmt.Errorf("AppSpec of %q has no metadata.version", d.Metadata.Name)
	}
	return spec, nil
}

// selected reports whether the arguments let the stage work on the app.
func (r *run) selected(a *app) bool {
	return r.projected || len(r.inv.Apps) == 0 || slices.ContainsFunc(r.inv.Apps, func(pattern string) bool { return matches(pattern, a) })
}

func matches(pattern string, a *app) bool {
	ok, err := path.Match(pattern, a.id.Name)
	return ok && err == nil
}

// checkSelection fails for a stream that lacks what was asked for.
func (r *run) checkSelection() {
	if len(r.codes) > 0 {
		return
	}
	if len(r.order) == 0 {
		r.fail(protocol.Metadata{}, protocol.Invalid("no AppSpec on stdin").WithHint(noDocuments))
		return
	}
	if r.projected {
		return
	}
	for _, pattern := range r.inv.Apps {
		if !slices.ContainsFunc(r.order, func(a *app) bool { return matches(pattern, a) }) {
			r.fail(protocol.Metadata{}, protocol.Invalid("app %q is not among the documents on stdin", pattern))
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
	}
	code := protocol.ExitCode(failure.Err())
	r.codes = append(r.codes, code)
	if d.Metadata.Name == "" {
		r.stopped = true
		return
	}
	r.app(d.Metadata)
	for _, a := range r.order {
		if a.id == d.Metadata || a.id.Name == d.Metadata.Name && d.Metadata.Version == "" {
			a.failed, a.code = true, code
		}
	}
}
