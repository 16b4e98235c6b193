package plugin

import (
	"fmt"
	"slices"

	"github.com/nationtech/harmony/pkg/protocol"
)

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
		if r.inv.Target != "" && result.Target != r.inv.Target || result.Cluster != "" || !result.Outcome.Delivered() {
			return nil // of another target, of one of its clusters, or a deploy that failed: its Failure follows
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
