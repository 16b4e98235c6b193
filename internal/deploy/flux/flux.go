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
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"

	deployvalues "github.com/nationtech/harmony/internal/chart/values"
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
	*conn.Conn
	client  kubernetes.Interface
	dynamic dynamic.Interface
	mapper  meta.RESTMapper
	// discovery is the mapper's.
	discovery discovery.DiscoveryInterface
	settings  options
	dryRun    bool
	progress  func(protocol.Event)

	app    protocol.AppSpec
	target string
	image  protocol.ImageRef
	chart  protocol.ChartRef
	values map[string]any
	// drifted names what somebody changed of the revision in force.
	drifted []string
}

// Deploy implements [capability.ContinuousDelivery]. HelmRelease and Helm
// release have the app's name. After a rollback there is a result as well as the
// error of what failed.
func (a *adapter) Deploy(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	conn, err := conn.Connect(a.flags, a.env.Topology, target)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	d, err := a.prepare(conn, app, target, image, chart)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	bounded, cancel := context.WithTimeout(ctx, a.settings.bound())
	defer cancel()
	result, err := d.run(bounded)
	return result, d.explain(ctx, err)
}

func (a *adapter) prepare(conn *conn.Conn, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (*deployment, error) {
	if err := a.check(app, image, chart); err != nil {
		return nil, err
	}
	values, err := deployvalues.Of(app, target)
	if err != nil {
		return nil, err
	}
	d, err := a.base(conn, app, target)
	if err != nil {
		return nil, err
	}
	d.image, d.chart, d.values = image, chart, values
	return d, nil
}

// base is a deployment that only looks at what is there.
func (a *adapter) base(conn *conn.Conn, app protocol.AppSpec, target string) (*deployment, error) {
	client, err := kubernetes.NewForConfig(conn.Config)
	if err != nil {
		return nil, fmt.Errorf("context %q: %w", conn.Context, err)
	}
	dynamicClient, err := dynamic.NewForConfig(conn.Config)
	if err != nil {
		return nil, fmt.Errorf("context %q: %w", conn.Context, err)
	}
	cached := memory.NewMemCacheClient(client.Discovery())
	return &deployment{
		Conn: conn, client: client, dynamic: dynamicClient, settings: a.settings, dryRun: a.env.DryRun,
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(cached), discovery: cached,
		progress: delivery.Progress(a.env, app),
		app:      app, target: target,
	}, nil
}

// check refuses what Flux cannot deliver.
func (a *adapter) check(app protocol.AppSpec, image protocol.ImageRef, chart protocol.ChartRef) error {
	if chart.Path != "" || chart.URL == "" {
		return protocol.Unsupported("topology %q: adapter flux pulls charts from a registry, but the chart of %s is a file on this machine", a.env.Topology.Name, app.Name).
			WithHint("set spec.helmRegistry of the topology to {adapter: oci, url: …} instead of none")
	}
	return delivery.Published(a.env, app, image, chart)
}

// explain makes an error one for people.
func (d *deployment) explain(ctx context.Context, err error) error {
	return delivery.Explain(ctx, d.Conn, "deploy "+d.app.Name+" to "+d.target, d.settings.bound(), err)
}

// standing is what a Helm release holds at one moment; the zero value is none.
type standing struct {
	revision     int
	image, chart string
}

// result is the document for an outcome: what stands now, and before.
func (d *deployment) result(outcome protocol.Outcome, now, before standing) protocol.DeployResult {
	return protocol.DeployResult{
		Metadata: d.app.Metadata, Target: d.target, Adapter: Name,
		Context: d.Context, Namespace: d.Namespace, Release: d.app.Name, Revision: now.revision,
		Outcome: outcome, Image: now.image, Chart: now.chart,
		PreviousImage: before.image, PreviousChart: before.chart, Planned: d.dryRun,
	}
}

// wanted is what is to stand, as a revision.
func (d *deployment) wanted(revision int) standing {
	return standing{revision: revision, image: d.image.Digest, chart: d.chart.Digest}
}
