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
	"errors"
	"fmt"
	"time"

	"helm.sh/helm/v3/pkg/action"
	corev1 "k8s.io/api/core/v1"

	deployvalues "github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/proof"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Name is the adapter's name in a topology.
const Name = "helm"

// New makes the adapter. The flags say what the user of the command line chose;
// they win over the target's own settings, and may be nil.
func New(flags *conn.Flags) capability.Adapter[capability.ContinuousDelivery] {
	return func(_ context.Context, env capability.Environment) (capability.ContinuousDelivery, error) {
		s, err := readSettings(env.Topology.Name, env.Provider.Settings)
		if err != nil {
			return nil, fmt.Errorf("topology %q: spec.continuousDelivery.settings: %w", env.Topology.Name, err)
		}
		return &adapter{flags: flags, env: env, settings: s}, nil
	}
}

// adapter is safe for use by several goroutines: a call holds its own state.
type adapter struct {
	flags    *conn.Flags
	env      capability.Environment
	settings settings
	clusters clusters
}

// deployment is one call of Deploy.
type deployment struct {
	*cluster
	settings settings
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
	if err != nil {
		return result, d.explain(ctx, err)
	}
	return result, nil
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
	if image.Digest == "" && !a.env.DryRun {
		return nil, protocol.Invalid("image %s of %s has no digest", image, app.Name).WithHint("publish it first")
	}
	if chart.Digest == "" && !a.env.DryRun {
		return nil, protocol.Invalid("chart %s of %s has no digest", chart.Chart, app.Name).WithHint("publish it first")
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
	d.prover = proof.NewProver(app.Name, image, auth.Keychain())
	return d, nil
}

// base is a deployment that only looks at what is there.
func (a *adapter) base(conn *conn.Conn, app protocol.AppSpec, target string) (*deployment, error) {
	c, err := a.clusters.get(conn)
	if err != nil {
		return nil, err
	}
	progress := func(e protocol.Event) {
		e.Metadata = app.Metadata
		a.env.Progress(e)
	}
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

// explain adds the server to an error, and tells our deadline from the user's
// interruption.
func (d *deployment) explain(ctx context.Context, err error) error {
	var told *protocol.Error
	switch {
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return fmt.Errorf("deploy %s to %s: %w", d.app.Name, d.target, errors.Join(ctx.Err(), err))
	case errors.As(err, &told) || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
		return d.Explain(err)
	}
	return fmt.Errorf("deploy %s to %s: not done after %s: %w", d.app.Name, d.target, d.settings.timeout, err)
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
