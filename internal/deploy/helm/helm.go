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

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/proof"
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
	config   *action.Configuration
	want     record
	// prover is nil where the image of a revision is not known.
	prover *proof.Prover
	// drifted names the objects of the last revision that were changed by others.
	drifted []string
	// pullSecret is to be made in the namespace; nil for none.
	pullSecret *corev1.Secret
}

// Deploy implements [capability.ContinuousDelivery]. The release has the app's
// name. An error of status protocol.ExitInvalid or protocol.ExitUnsupported
// means that nothing was changed.
func (a *adapter) Deploy(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	d, err := a.prepare(app, target, image, chart)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if d.pullSecret, err = d.credentials(ctx); err != nil {
		return protocol.DeployResult{}, err
	}
	result, err := d.run(ctx, time.Now().Add(a.settings.timeout))
	return result, d.Explained(ctx, d.Conn, a.settings.timeout, err)
}

// prepare opens a deployment of an image and a chart.
func (a *adapter) prepare(app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (*deployment, error) {
	d, err := a.open(app, target)
	if err != nil {
		return nil, err
	}
	if err := delivery.Published(a.Env, app, image, chart); err != nil {
		return nil, err
	}
	d.Image, d.Chart = image, chart
	if d.Values, err = values.Of(app, target); err != nil {
		return nil, err
	}
	d.want = record{chart: chart.Digest, image: image.Digest}
	d.prover = proof.NewProver(app.Name, image)
	d.want.values, err = values.Digest(d.Values)
	return d, err
}

// open makes a deployment that only reads the release; it sends nothing.
func (a *adapter) open(app protocol.AppSpec, target string) (*deployment, error) {
	call, err := a.Open(app, target)
	if err != nil {
		return nil, err
	}
	d := &deployment{Call: call, settings: a.settings}
	if registry := a.Env.Topology.OCIRegistry; registry != nil {
		d.Image.Insecure = registry.Insecure
	}
	d.config, err = newConfiguration(call.Cluster, func(warning string) { d.Say("warning", "%s", warning) })
	return d, err
}

// result is the document for an outcome.
func (d *deployment) result(outcome protocol.Outcome, revision int, before record) protocol.DeployResult {
	r := d.Result(Name, outcome)
	r.Revision, r.Image, r.Chart = revision, d.Image.Digest, d.Chart.Digest
	r.PreviousImage, r.PreviousChart = before.image, before.chart
	return r
}
