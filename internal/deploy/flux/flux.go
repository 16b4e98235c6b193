// Package flux delivers an app by Flux: an OCIRepository that pins the chart by
// digest and a HelmRelease that installs it, both written by server-side apply.
//
// Flux does the work and mends it, also when this process is gone; the adapter
// asks for it, follows it by the objects' status, and proves what runs. Nothing
// is remembered on the machine: each call reads the objects and does what is
// missing. Objects that somebody else made, or suspended, are left alone.
package flux

import (
	"context"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/config/settings"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Name is the adapter's name in a topology.
const Name = "flux"

// New makes the adapter. The flags are those of the command line;
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

type deployment struct {
	delivery.Call
	settings options
	// drifted names the objects of the revision in force that were changed by
	// others.
	drifted []string
	// valuesName is the Secret for the values; "" for the one that their digest names.
	valuesName string
	// adopted says who managed the HelmRelease that is taken over.
	adopted string
	// back is true for a rollback, which may go to an older version, and has Rollouts
	// skip their steps.
	back bool
	// takenBack says what it is gone back from, and why; empty in a deploy.
	takenBack string
}

// Deploy implements [capability.ContinuousDelivery]. HelmRelease and Helm
// release have the app's name. After a rollback there is a result as well as the
// error that led to it.
func (a *adapter) Deploy(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	d, err := a.prepare(ctx, app, target, image, chart)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	return d.bounded(ctx, d.run)
}

// prepare makes a deployment of an image and a chart; it sends nothing.
func (a *adapter) prepare(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (*deployment, error) {
	d, err := a.open(app, target)
	if err != nil {
		return nil, err
	}
	if chart.Path != "" || chart.URL == "" {
		return nil, protocol.Unsupported("topology %q: adapter flux pulls charts from a registry, but the chart of %s is a file on this machine", a.Env.Topology.Name, app.Name).
			WithHint("set spec.helmRegistry of the topology to {adapter: oci, url: …} instead of none")
	}
	if err := delivery.Published(a.Env, app, image, chart); err != nil {
		return nil, err
	}
	d.Image, d.Chart = image, chart
	set, err := values.Of(ctx, app, target)
	if err != nil {
		return nil, err
	}
	d.Use(set)
	return d, nil
}

// open makes a deployment that only reads the objects; it sends nothing.
func (a *adapter) open(app protocol.AppSpec, target string) (*deployment, error) {
	call, err := a.Open(app, target)
	return &deployment{Call: call, settings: a.settings}, err
}

// bounded runs a function within the time limit of a deploy.
func (d *deployment) bounded(ctx context.Context, do func(context.Context) (protocol.DeployResult, error)) (protocol.DeployResult, error) {
	bounded, cancel := context.WithTimeout(ctx, d.settings.bound())
	defer cancel()
	result, err := do(bounded)
	return result, d.Explained(ctx, d.Conn, d.settings.bound(), err)
}

// standing is a Helm release at one moment; the zero value stands for no release.
type standing struct {
	revision     int
	image, chart string
	images       map[string]protocol.ImageRef // the further ones
}

// result is the document for an outcome, with the release now and before.
func (d *deployment) result(outcome protocol.Outcome, now, before standing) protocol.DeployResult {
	r := d.Result(Name, outcome)
	r.Revision, r.Image, r.Chart = now.revision, now.image, now.chart
	r.Images = protocol.ImageRef{Images: now.images}.ImageDigests()
	r.PreviousImage, r.PreviousChart, r.PreviousRevision, r.Adopted = before.image, before.chart, before.revision, d.adopted
	return r
}

// wanted is the release to be deployed, as a revision.
func (d *deployment) wanted(revision int) standing {
	return standing{revision: revision, image: d.Image.Digest, images: d.Image.Images, chart: d.Chart.Digest}
}

type options struct {
	// timeout bounds one Helm action of Flux, rollout and all: spec.timeout.
	timeout time.Duration
	// interval is how often Flux looks again by itself.
	interval time.Duration
	// maxHistory is how many revisions Helm keeps.
	maxHistory int
	// sourceNamespace holds the OCIRepository; the target's when empty.
	sourceNamespace string
	// secretRef names a Secret next to the OCIRepository with the credentials for
	// the registry, serviceAccount whom Flux acts as.
	secretRef, serviceAccount string
	// failFast ends a deploy at what could still heal, such as a crash loop.
	failFast bool
	// rollback makes Flux go back to the revision before when an upgrade fails.
	rollback bool
	// retries is how often Flux tries again before that is final.
	retries int
	// reportDrift leaves objects that somebody changed as they are and reports them;
	// else Flux mends them. driftIgnore are JSON pointers of fields that are left
	// alone, such as /spec/replicas with an autoscaler.
	reportDrift bool
	driftIgnore []string
	// force takes over objects and fields of others.
	force bool
}

// slack is how long Flux may take to begin, over the timeout of its work.
const slack = 30 * time.Second

// bound is how long a deploy may take. A rollback takes as long as the upgrade.
func (s options) bound() time.Duration {
	if s.rollback {
		return 2 * (s.timeout + slack)
	}
	return s.timeout + slack
}

func readSettings(env capability.Environment) (options, error) {
	s := options{timeout: 5 * time.Minute, interval: 10 * time.Minute, maxHistory: 10, rollback: true}
	pointer := func(text string) bool { return strings.HasPrefix(text, "/") }
	err := settings.Of(env, "continuousDelivery", settings.Table{
		"timeout":         settings.Duration(&s.timeout),
		"interval":        settings.Duration(&s.interval),
		"maxHistory":      settings.Whole(&s.maxHistory, 1),
		"sourceNamespace": settings.Text(&s.sourceNamespace),
		"secretRef":       settings.Text(&s.secretRef),
		"serviceAccount":  settings.Text(&s.serviceAccount),
		"failFast":        settings.Bool(&s.failFast),
		"rollback":        settings.Bool(&s.rollback),
		"retries":         settings.Whole(&s.retries, 0),
		"drift":           settings.Chosen(&s.reportDrift, "report", "repair"),
		"driftIgnore":     settings.List(&s.driftIgnore, "JSON pointers such as /spec/replicas", pointer),
		"force":           settings.Bool(&s.force),
	})
	return s, err
}
