// Package helm delivers an app by Helm: it installs or upgrades a release in
// Helm's own storage, follows the rollout, and proves that the image runs.
//
// Nothing is remembered on the machine. Each call looks at the release and at
// what runs, and does what is missing. A release is written to under a Lease
// only, and Helm is told not to wait: a process that is killed leaves at most a
// revision that is pending, for the next one to mend.
package helm

import (
	"context"
	"time"

	"helm.sh/helm/v3/pkg/action"
	corev1 "k8s.io/api/core/v1"

	deployvalues "github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/proof"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Name is the adapter's name in a topology.
const Name = "helm"

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
	clusters clusters
}

// deployment is one call of Deploy.
type deployment struct {
	*cluster
	settings options
	dryRun   bool
	progress func(protocol.Event)

	config *action.Configuration
	app    protocol.AppSpec
	target string
	image  protocol.ImageRef
	chart  protocol.ChartRef
	values map[string]any
	want   record
	// prover is nil where the image of a revision is not known.
	prover *proof.Prover
	// drifted names what somebody changed of the last revision.
	drifted []string
	// pullSecret is to be made in the namespace; nil for none.
	pullSecret *corev1.Secret
}

// Deploy implements [capability.ContinuousDelivery]. The release has the app's
// name. An error of status protocol.ExitInvalid or protocol.ExitUnsupported
// tells that nothing was touched.
func (a *adapter) Deploy(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	d, err := a.open(app, target, image, chart)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if d.pullSecret, err = d.credentials(ctx); err != nil {
		return protocol.DeployResult{}, err
	}
	result, err := d.run(ctx, time.Now().Add(a.settings.timeout))
	return result, d.explain(ctx, err)
}

// open makes what a call needs; it sends nothing.
func (a *adapter) open(app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (*deployment, error) {
	conn, err := conn.Connect(a.flags, a.env.Topology, target)
	if err != nil {
		return nil, err
	}
	return a.prepare(conn, app, target, image, chart)
}

func (a *adapter) prepare(conn *conn.Conn, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (*deployment, error) {
	if err := delivery.Published(a.env, app, image, chart); err != nil {
		return nil, err
	}
	values, err := deployvalues.Of(app, target)
	if err != nil {
		return nil, err
	}
	digest, err := deployvalues.Digest(values)
	if err != nil {
		return nil, err
	}
	d, err := a.base(conn, app, target)
	if err != nil {
		return nil, err
	}
	d.image, d.chart, d.values = image, chart, values
	d.want = record{chart: chart.Digest, image: image.Digest, values: digest}
	d.prover = proof.NewProver(app.Name, image)
	return d, nil
}

// base is a deployment that only looks at what is there.
func (a *adapter) base(conn *conn.Conn, app protocol.AppSpec, target string) (*deployment, error) {
	c, err := a.clusters.get(conn)
	if err != nil {
		return nil, err
	}
	progress := delivery.Progress(a.env, app)
	config, err := newConfiguration(c, func(warning string) {
		progress(protocol.Event{Phase: "warning", Message: rollout.Clean(warning)})
	})
	if err != nil {
		return nil, err
	}
	d := &deployment{
		cluster: c, settings: a.settings, dryRun: a.env.DryRun, progress: progress, config: config,
		app: app, target: target,
	}
	if registry := a.env.Topology.OCIRegistry; registry != nil {
		d.image.Insecure = registry.Insecure
	}
	return d, nil
}

// explain makes an error one for people.
func (d *deployment) explain(ctx context.Context, err error) error {
	return delivery.Explain(ctx, d.Conn, "deploy "+d.app.Name+" to "+d.target, d.settings.timeout, err)
}

// result is the document for an outcome.
func (d *deployment) result(outcome protocol.Outcome, revision int, before record) protocol.DeployResult {
	return protocol.DeployResult{
		Metadata: d.app.Metadata, Target: d.target, Adapter: Name,
		Context: d.Context, Namespace: d.Namespace, Release: d.app.Name, Revision: revision,
		Outcome: outcome, Image: d.image.Digest, Chart: d.chart.Digest,
		PreviousImage: before.image, PreviousChart: before.chart, Planned: d.dryRun,
	}
}
