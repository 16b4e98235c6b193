// Package argocd delivers an app by Argo CD: it writes an Application for the
// chart by its digest, has Argo CD sync it, follows the operation and the
// rollout, and proves that the image runs.
//
// All of it goes through the custom resources; Argo CD's own API server is not
// needed. Nothing is remembered on the machine: the Application holds what is
// wanted and what was there before. It is written to under a Lease only.
package argocd

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/config/settings"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// What is read of Argo CD's objects.
type (
	application    = api.Application
	place          = api.Place
	condition      = api.Condition
	operationState = api.OperationState
	reference      = api.Reference
)

// Name is the adapter's name in a topology.
const Name = "argocd"

// New makes the adapter. The flags are those of the command line;
// they win over the target's own settings, and may be nil.
func New(flags *conn.Flags) capability.Adapter[delivery.Adapter] {
	return func(_ context.Context, env capability.Environment) (delivery.Adapter, error) {
		s, err := readSettings(env)
		return &adapter{Base: delivery.Base{Unsupported: Name, Flags: flags, Env: env}, settings: s}, err
	}
}

type adapter struct {
	delivery.Base
	settings options
	// hub is the cluster of Argo CD, and set the ApplicationSet whose Applications are
	// removed one by one; for that only.
	hub *delivery.Cluster
	set string
}

// deployment is one call of the adapter. Its cluster is the one in which the app
// runs: Argo CD writes there, and harmony only reads.
type deployment struct {
	delivery.Call
	settings options
	// argo is where the Application is.
	argo *argo
	want wanted
	// set is the ApplicationSet that may own the Application.
	set string
	// adopted says who managed the Application that is taken over.
	adopted string
	// takenBack says what it is gone back from, and why; empty in a deploy.
	takenBack string
	// promote has Rollouts skip their steps, in a rollback.
	promote bool
}

// Deploy implements [capability.ContinuousDelivery]. An error of status
// protocol.ExitInvalid or protocol.ExitUnsupported means that nothing was
// changed. After a rollback there is a result as well as the error that led to
// it.
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

// check refuses a release that Argo CD cannot deploy.
func (a *adapter) check(app protocol.AppSpec, image protocol.ImageRef, chart protocol.ChartRef) error {
	if chart.URL == "" {
		return protocol.Unsupported("the chart of %s is a local path, %s: Argo CD takes charts from a registry", app.Name, chart.Path).
			WithHint("set spec.helmRegistry of topology %q to {adapter: oci, url: registry.example.com/charts}, and publish again", a.Env.Topology.Name)
	}
	return delivery.Published(a.Env, app, image, chart)
}

func (a *adapter) prepare(app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (*deployment, error) {
	call, err := a.Open(app, target)
	if err != nil {
		return nil, err
	}
	return a.deployment(call, image, chart)
}

// deployment makes one out of a call. Argo CD is in the call's cluster, unless
// the settings name another.
func (a *adapter) deployment(call delivery.Call, image protocol.ImageRef, chart protocol.ChartRef) (*deployment, error) {
	d := &deployment{Call: call, settings: a.settings, set: a.set}
	if charts := a.Env.Topology.HelmRegistry; charts != nil && chart.URL == "" {
		chart.Insecure = charts.Insecure
	}
	d.Image, d.Chart = image, chart
	var err error
	if d.Values, err = values.InClear(d.App, d.Target, "an Argo CD Application"); err != nil {
		return nil, err
	}
	if d.argo, err = a.connectArgo(call.Cluster, a.applicationOf(d.App.Name, d.Target)); err != nil {
		return nil, err
	}
	d.want, err = newWanted(d)
	return d, err
}

func (d *deployment) explain(ctx context.Context, err error) error {
	return d.Explained(ctx, d.argo.Conn, d.settings.timeout, err)
}

// lock is a change of an object under a Lease beside it.
func (d *deployment) lock(what string, work func(context.Context) (protocol.DeployResult, error)) delivery.Change {
	c := d.Lock(d.argo.Cluster, d.argo.namespace, d.argo.name, what)
	c.Work = func(ctx context.Context, _ bool) (protocol.DeployResult, error) { return work(ctx) }
	return c
}

// result is the document for an outcome; before is the release that was in force.
func (d *deployment) result(outcome protocol.Outcome, now, before release) protocol.DeployResult {
	r := d.Result(Name, outcome)
	r.Image, r.Chart, r.PreviousImage, r.PreviousChart = now.digest(), now.chart(), before.digest(), before.chart()
	r.Images = status.Digests(now.Images)
	r.Adopted = d.adopted
	return r
}

// bounded is a context that ends after the time of a deploy.
func (d *deployment) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d.settings.timeout, context.DeadlineExceeded)
}

// Status reports what the Application says about the app, wherever the Application
// lies, and whether its image is what runs.
func (a *adapter) Status(ctx context.Context, app protocol.AppSpec, target string) ([]status.Entry, error) {
	d, err := a.prepare(app, target, protocol.ImageRef{Metadata: app.Metadata}, protocol.ChartRef{Metadata: app.Metadata})
	if err != nil {
		return nil, err
	}
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	e, err := d.status(ctx)
	if err != nil {
		return nil, d.explain(ctx, err)
	}
	e.App, e.Target, e.Context, e.Namespace = app.Name, target, d.Context, d.Namespace
	return []status.Entry{e}, nil
}

func (d *deployment) status(ctx context.Context) (status.Entry, error) {
	found, err := d.argo.get(ctx)
	if err != nil {
		return status.Entry{}, err
	}
	if found == nil {
		return status.Entry{State: status.Absent}, nil
	}
	e := found.Entry()
	now := releaseOf(found)
	if !now.known() || found.Status.Health.Status != api.Healthy {
		return e, nil
	}
	if d.Image, err = now.image(d.Image); err != nil {
		return status.Entry{}, err
	}
	runs, err := d.running(ctx, found)
	if err != nil {
		return status.Entry{}, err
	}
	// What somebody changed is reported as drift.
	e.Healthy, e.Message = runs, ""
	if !runs {
		e.Message = "Argo CD finds it healthy, but its pods do not all run " + cmp.Or(now.Image, "the images of its chart") + ", and ready"
	}
	return e, nil
}

type options struct {
	// namespace is where Applications lie, and context the kubeconfig's for the
	// cluster of Argo CD; the target's when empty.
	namespace, context string
	// application is the pattern of an Application's name.
	application string
	// project is the AppProject.
	project string
	// server or name is the destination as Argo CD knows it.
	server, name string
	// manage is false when the Application comes from Git.
	manage bool
	// failFast ends a deploy at what could still heal, such as a crash loop.
	failFast bool
	// rollback brings back what was there before a deploy that failed.
	rollback    bool
	syncOptions []string
	// report is true when drift is reported and not repaired.
	report bool
	// timeout bounds a deploy, rollout and all, and a rollback once more.
	timeout time.Duration
	// setFrom is from how many clusters of a target on an ApplicationSet does the
	// fan-out; never when zero.
	setFrom int
}

// manyClusters is past what one client should drive.
const manyClusters = 100

func readSettings(env capability.Environment) (options, error) {
	s := options{
		namespace: "argocd", application: "{app}-{target}", project: "default",
		manage: true, rollback: true, timeout: 5 * time.Minute, setFrom: manyClusters,
	}
	option := func(text string) bool {
		key, value, ok := strings.Cut(text, "=")
		return ok && key != "" && value != ""
	}
	err := settings.Of(env, "continuousDelivery", settings.Table{
		"namespace":      settings.Text(&s.namespace),
		"context":        settings.Text(&s.context),
		"project":        settings.Text(&s.project),
		"application":    settings.Text(&s.application),
		"applicationSet": s.readApplicationSet,
		"manage":         settings.Bool(&s.manage),
		"failFast":       settings.Bool(&s.failFast),
		"rollback":       settings.Bool(&s.rollback),
		"syncOptions":    settings.List(&s.syncOptions, "options such as ServerSideApply=true", option),
		"destination":    settings.Mapping(settings.Table{"name": settings.Text(&s.name), "server": settings.Text(&s.server)}),
		"timeout":        settings.Duration(&s.timeout),
		"drift":          settings.Chosen(&s.report, "report", "repair"),
	})
	if err == nil && s.name != "" && s.server != "" {
		err = protocol.Invalid("topology %q: spec.continuousDelivery.settings: destination has both a name and a server", env.Topology.Name)
	}
	if err == nil {
		err = s.ofCluster(env.Cluster)
	}
	return s, err
}

// readApplicationSet accepts true, false, or the least number of clusters.
func (s *options) readApplicationSet(path string, value any) error {
	var on bool
	if settings.Bool(&on)(path, value) != nil {
		return settings.Whole(&s.setFrom, 1)(path, value)
	}
	if s.setFrom = 0; on {
		s.setFrom = 1
	}
	return nil
}

// ofCluster fits the settings to one of several clusters, whose Applications may
// lie side by side. They have the names that an ApplicationSet gives.
func (s *options) ofCluster(cluster string) error {
	switch {
	case cluster == "":
		return nil
	case s.name != "" || s.server != "":
		return errDestination()
	case !strings.Contains(s.application, "{cluster}"):
		s.application += "-{cluster}"
	}
	s.application = strings.ReplaceAll(s.application, "{cluster}", slug(cluster))
	return nil
}

func errDestination() error {
	return protocol.Invalid("destination: the target has several clusters, and this is one").WithHint("leave it out: a cluster is known to Argo CD by its API server")
}

// slug is the name of a cluster as a part of an object's name.
func slug(cluster string) string {
	const most = 40
	made := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(cluster)), "-")
	if made == cluster && len(made) <= most {
		return made
	}
	return strings.TrimLeft(made[:min(len(made), most)]+fmt.Sprintf("-%x", sha256.Sum256([]byte(cluster)))[:9], "-")
}

// applicationOf is the name of the Application of an app on a target. Each preview has
// its own.
func (a *adapter) applicationOf(app, target string) string {
	s := a.settings
	if in := a.Env.Topology.Targets[target].InCluster; in != nil && in.TTL > 0 && in.Preview != nil {
		if !strings.Contains(s.application, "{branch}") {
			s.application += "-{branch}"
		}
		s.application = strings.ReplaceAll(s.application, "{branch}", in.Preview.Label())
	}
	return s.applicationOf(app, target)
}

func (s options) applicationOf(app, target string) string {
	return strings.NewReplacer("{app}", app, "{target}", target, "-{cluster}", "", "{cluster}", "", "-{branch}", "", "{branch}", "").Replace(s.application)
}
