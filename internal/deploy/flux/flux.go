// Package flux delivers an app by Flux: an OCIRepository that pins the chart by
// digest and a HelmRelease that installs it, both written by server-side apply.
//
// Flux does the work and mends it, also when this process is gone; the adapter
// asks for it, follows it by the objects' status, and proves what runs. Nothing
// is remembered on the machine: each call looks at the objects and does what is
// missing. Objects that somebody else made, or suspended, are left alone.
package flux

import (
	"context"

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Name is the adapter's name in a topology.
const Name = "flux"

// New makes the adapter. The flags say what the user of the command line chose;
// they win over the target's own settings, and may be nil.
func New(flags *conn.Flags) capability.Adapter[delivery.Adapter] {
	return func(_ context.Context, env capability.Environment) (delivery.Adapter, error) {
		s, err := readSettings(env)
		return &adapter{delivery.Base{Unsupported: Name, Flags: flags, Env: env}, s}, err
	}
}

type adapter struct {
	delivery.Base
	settings options
}

// deployment is one call of the adapter.
type deployment struct {
	delivery.Call
	settings options
	// drifted names the objects of the revision in force that were changed by
	// others.
	drifted []string
}

// Deploy implements [capability.ContinuousDelivery]. HelmRelease and Helm
// release have the app's name. After a rollback there is a result as well as the
// error that led to it.
func (a *adapter) Deploy(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	d, err := a.open(app, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if chart.Path != "" || chart.URL == "" {
		return protocol.DeployResult{}, protocol.Unsupported("topology %q: adapter flux pulls charts from a registry, but the chart of %s is a file on this machine", a.Env.Topology.Name, app.Name).
			WithHint("set spec.helmRegistry of the topology to {adapter: oci, url: …} instead of none")
	}
	if err := delivery.Published(a.Env, app, image, chart); err != nil {
		return protocol.DeployResult{}, err
	}
	d.Image, d.Chart = image, chart
	if d.Values, err = values.Of(app, target); err != nil {
		return protocol.DeployResult{}, err
	}
	return d.bounded(ctx, d.run)
}

// open makes a deployment that only reads the objects; it sends nothing.
func (a *adapter) open(app protocol.AppSpec, target string) (*deployment, error) {
	call, err := a.Open(app, target)
	return &deployment{Call: call, settings: a.settings}, err
}

// bounded does something within the time of a deploy.
func (d *deployment) bounded(ctx context.Context, do func(context.Context) (protocol.DeployResult, error)) (protocol.DeployResult, error) {
	bounded, cancel := context.WithTimeout(ctx, d.settings.bound())
	defer cancel()
	result, err := do(bounded)
	return result, d.Explained(ctx, d.Conn, d.settings.bound(), err)
}

// standing is a Helm release at one moment; the zero value is none.
type standing struct {
	revision     int
	image, chart string
}

// result is the document for an outcome, with the release now and before.
func (d *deployment) result(outcome protocol.Outcome, now, before standing) protocol.DeployResult {
	r := d.Result(Name, outcome)
	r.Revision, r.Image, r.Chart = now.revision, now.image, now.chart
	r.PreviousImage, r.PreviousChart = before.image, before.chart
	return r
}

// wanted is the release to be deployed, as a revision.
func (d *deployment) wanted(revision int) standing {
	return standing{revision: revision, image: d.Image.Digest, chart: d.Chart.Digest}
}
