// Package argocd delivers an app by Argo CD: it writes an Application for the
// chart by its digest, has Argo CD sync it, follows the operation and the
// rollout, and proves that the image runs.
//
// All of it goes through the custom resources; Argo CD's own API server is not
// needed. Nothing is remembered on the machine: the Application holds what is
// wanted and what was there before. It is written to under a Lease only.
package argocd

import (
	"context"
	"fmt"

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// What is read of Argo CD's objects.
type (
	application    = api.Application
	place          = api.Place
	condition      = api.Condition
	operationState = api.OperationState
	syncResource   = api.SyncResource
)

// Name is the adapter's name in a topology.
const Name = "argocd"

// New makes the adapter. The flags say what the user of the command line chose;
// they win over the target's own settings, and may be nil.
func New(flags *conn.Flags) capability.Adapter[delivery.Adapter] {
	return func(_ context.Context, env capability.Environment) (delivery.Adapter, error) {
		s, err := readSettings(env)
		return &adapter{Unsupported: Name, flags: flags, env: env, settings: s}, err
	}
}

// adapter is safe for use by several goroutines: a call holds its own state.
type adapter struct {
	delivery.Unsupported
	flags    *conn.Flags
	env      capability.Environment
	settings options
}

// deployment is one call of Deploy.
type deployment struct {
	settings options
	dryRun   bool
	progress func(protocol.Event)
	// argo is where the Application lies, and destination where the app runs.
	argo        *argo
	destination *destination

	app    protocol.AppSpec
	target string
	image  protocol.ImageRef
	chart  protocol.ChartRef
	values map[string]any
	want   wanted
}

// Deploy implements [capability.ContinuousDelivery]. An error of status
// protocol.ExitInvalid or protocol.ExitUnsupported tells that nothing was
// touched. A deploy that failed and was rolled back is told by both the result
// and the error.
func (a *adapter) Deploy(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	if err := a.check(app, image, chart); err != nil {
		return protocol.DeployResult{}, err
	}
	d, err := a.prepare(app, target, image, chart)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	result, err := d.run(ctx)
	return result, d.explain(ctx, err)
}

// check tells what Argo CD cannot deploy.
func (a *adapter) check(app protocol.AppSpec, image protocol.ImageRef, chart protocol.ChartRef) error {
	if chart.URL == "" {
		return protocol.Unsupported("the chart of %s is a local path, %s: Argo CD takes charts from a registry", app.Name, chart.Path).
			WithHint("set spec.helmRegistry of topology %q to {adapter: oci, url: registry.example.com/charts}, and publish again", a.env.Topology.Name)
	}
	return delivery.Published(a.env, app, image, chart)
}

func (a *adapter) prepare(app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (*deployment, error) {
	conn, err := conn.Connect(a.flags, a.env.Topology, target)
	if err != nil {
		return nil, err
	}
	d, err := a.deployment(conn, app, target, image, chart)
	if err != nil {
		return nil, err
	}
	d.destination, err = newDestination(conn)
	return d, err
}

// deployment is one that does not know yet where the app runs. conn is the way
// to Argo CD, unless the settings name another.
func (a *adapter) deployment(conn *conn.Conn, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (*deployment, error) {
	made, err := values.Of(app, target)
	if err != nil {
		return nil, err
	}
	d := &deployment{
		settings: a.settings, dryRun: a.env.DryRun,
		app: app, target: target, image: image, chart: chart, values: made,
		progress: delivery.Progress(a.env, app),
	}
	if d.argo, err = a.connectArgo(conn); err != nil {
		return nil, err
	}
	d.argo.name = a.settings.applicationOf(app.Name, target)
	d.want, err = newWanted(d)
	return d, err
}

// explain makes an error one for people.
func (d *deployment) explain(ctx context.Context, err error) error {
	return delivery.Explain(ctx, d.argo.Conn, "deploy "+d.app.Name+" to "+d.target, d.settings.timeout, err)
}

// lock is a change of the object, which lies beside the Application, by the work.
func (d *deployment) lock(what string, work func(context.Context) (protocol.DeployResult, error)) delivery.Change {
	return delivery.Change{
		Conn: d.argo.Conn, Leases: d.argo.client.CoordinationV1().Leases(d.argo.namespace), Release: d.argo.name, What: what,
		DryRun: d.dryRun, Progress: d.progress,
		Work: func(ctx context.Context, _ bool) (protocol.DeployResult, error) { return work(ctx) },
	}
}

// result is the document for an outcome; before is what was in force.
func (d *deployment) result(outcome protocol.Outcome, now, before release) protocol.DeployResult {
	return protocol.DeployResult{
		Metadata: d.app.Metadata, Target: d.target, Adapter: Name,
		Context: d.destination.Context, Namespace: d.destination.Namespace, Release: d.app.Name,
		Outcome: outcome, Image: now.digest(), Chart: now.chart(),
		PreviousImage: before.digest(), PreviousChart: before.chart(), Planned: d.dryRun,
	}
}

// say tells one line of progress.
func (d *deployment) say(phase, format string, args ...any) {
	d.progress(protocol.Event{Phase: phase, Message: clean(fmt.Sprintf(format, args...))})
}

// bounded is a context that ends after the deploy's time.
func (d *deployment) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d.settings.timeout, context.DeadlineExceeded)
}
