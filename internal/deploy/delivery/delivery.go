// Package delivery is what all adapters of ContinuousDelivery share: their
// interface, the work under a lease, errors and progress as people need them.
// An adapter adds what differs.
package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/restmapper"

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Adapter delivers to a target. One that lacks a method embeds [Unsupported].
type Adapter interface {
	capability.ContinuousDelivery
	// Rollback brings an app back to the release of a version, or to the one
	// before when to is empty, and proves it as a deploy does.
	Rollback(ctx context.Context, app protocol.AppSpec, target, to string) (protocol.DeployResult, error)
	capability.Reverter
	capability.Remover
	capability.Migrator
	// Forget removes what migrations have left on the target, and tells it.
	Forget(ctx context.Context, app protocol.AppSpec, target string) ([]protocol.ObjectRef, error)
	// GiveBack removes harmony's marks from an app, which runs on: a deploy refuses it
	// from then on, and whoever managed it before goes on with it. The outcome is
	// protocol.OutcomeGivenBack, or protocol.OutcomeAbsent when harmony has no such app.
	GiveBack(ctx context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error)
	// Status lists what runs of the app. What cannot be read has an entry that says
	// why, in addition to the error.
	Status(ctx context.Context, app protocol.AppSpec, target string) ([]status.Entry, error)
	// Diff lists what a deploy would change, and changes nothing.
	Diff(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) ([]difference.Object, error)
}

// Constructor makes an adapter. The flags say what the user of the command line
// chose; they win over the target's own settings, and may be nil.
type Constructor = func(*conn.Flags) capability.Adapter[Adapter]

// Unsupported is an adapter that can do nothing, under its name.
type Unsupported string

func (u Unsupported) cannot(what string) *protocol.Error {
	return protocol.Unsupported("adapter %q does not support %s", cmp.Or(string(u), "without a name"), what)
}

// Rollback is unsupported.
func (u Unsupported) Rollback(_ context.Context, app protocol.AppSpec, _, _ string) (protocol.DeployResult, error) {
	return protocol.DeployResult{}, u.cannot("rollback").WithHint("release the earlier version again: harmony release %s --version …", app.Name)
}

// TakeBack is unsupported.
func (u Unsupported) TakeBack(context.Context, protocol.AppSpec, string, capability.Setback, func(protocol.DeployResult)) (protocol.DeployResult, error) {
	return protocol.DeployResult{}, u.cannot(protocol.CommandTakeBack)
}

// Remove is unsupported.
func (u Unsupported) Remove(context.Context, protocol.AppSpec, string) (protocol.DeployResult, error) {
	return protocol.DeployResult{}, u.cannot("uninstall")
}

// Migrate is unsupported.
func (u Unsupported) Migrate(context.Context, protocol.AppSpec, string, protocol.ImageRef, protocol.ChartRef) (protocol.MigrationReport, error) {
	return protocol.MigrationReport{}, u.cannot("migrations")
}

// Forget finds nothing to remove.
func (u Unsupported) Forget(context.Context, protocol.AppSpec, string) ([]protocol.ObjectRef, error) {
	return nil, nil
}

// GiveBack is unsupported.
func (u Unsupported) GiveBack(context.Context, protocol.AppSpec, string) (protocol.DeployResult, error) {
	return protocol.DeployResult{}, u.cannot("adopt --release")
}

// Status is unsupported.
func (u Unsupported) Status(context.Context, protocol.AppSpec, string) ([]status.Entry, error) {
	return nil, u.cannot("status")
}

// Diff is unsupported.
func (u Unsupported) Diff(context.Context, protocol.AppSpec, string, protocol.ImageRef, protocol.ChartRef) ([]difference.Object, error) {
	return nil, u.cannot("diff").WithHint("its controller may: argocd app diff, flux diff")
}

// Of is the adapter as one that answers for every method.
func Of(name string, c capability.ContinuousDelivery) Adapter {
	if a, ok := c.(Adapter); ok {
		return a
	}
	return struct {
		capability.ContinuousDelivery
		Unsupported
	}{c, Unsupported(name)}
}

// Published fails for an image or a chart without a digest, which only a dry run
// may have. An app without an image needs none.
func Published(env capability.Environment, app protocol.AppSpec, image protocol.ImageRef, chart protocol.ChartRef) error {
	what := ""
	for _, one := range image.All() {
		if one.Digest == "" && !(image.IsNone() && app.Image.IsNone()) {
			what = "image " + one.String()
		}
	}
	if what == "" && chart.Digest == "" {
		what = "chart " + chart.Chart
	}
	if env.DryRun || what == "" {
		return nil
	}
	return protocol.Invalid("%s of %s has no digest", what, app.Name).WithHint("publish it first")
}

// Base is the part that all adapters for clusters share. It is safe for use by
// several goroutines: a call holds its own state.
type Base struct {
	Unsupported
	// Flags are those of the command line, which win over the target's own
	// settings; they may be nil.
	Flags *conn.Flags
	Env   capability.Environment

	clusters sync.Map
}

// Open starts a call for an app on a target. It sends nothing. Calls for the same
// namespace share their clients and what those have discovered.
func (b *Base) Open(app protocol.AppSpec, target string) (Call, error) {
	topology, err := b.Env.Topology.At(app.Name, target)
	if err != nil {
		return Call{}, err
	}
	conn, err := conn.Connect(b.Flags, topology, target)
	if err != nil {
		return Call{}, err
	}
	made, err := NewCluster(conn)
	if err != nil {
		return Call{}, err
	}
	shared, _ := b.clusters.LoadOrStore([2]string{conn.Context, conn.Namespace}, made)
	return b.Call(shared.(*Cluster), app, target), nil
}

// Call starts a call on a cluster.
func (b *Base) Call(cluster *Cluster, app protocol.AppSpec, target string) Call {
	return Call{Cluster: cluster, Topology: b.Env.Topology, App: app, Target: target, DryRun: b.Env.DryRun, Adopt: b.Env.Adopt, Progress: Progress(b.Env, app)}
}

// Cluster is a namespace of a cluster and the clients for it. It is safe for use
// by several goroutines.
type Cluster struct {
	*conn.Conn
	Client    kubernetes.Interface
	Dynamic   dynamic.Interface
	Discovery discovery.CachedDiscoveryInterface
	Mapper    meta.ResettableRESTMapper
}

// NewCluster makes the clients for a connection.
func NewCluster(conn *conn.Conn) (*Cluster, error) {
	client, err := kubernetes.NewForConfig(conn.Config)
	objects, failed := dynamic.NewForConfig(conn.Config)
	if err = errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("context %q: %w", conn.Context, err)
	}
	cached := memory.NewMemCacheClient(client.Discovery())
	return &Cluster{conn, client, objects, cached, restmapper.NewDeferredDiscoveryRESTMapper(cached)}, nil
}

// Space is the namespace as the place of objects.
func (c *Cluster) Space() manifest.Space {
	return manifest.Space{Dynamic: c.Dynamic, Mapper: c.Mapper, Namespace: c.Namespace}
}

// Call is one call of an adapter.
type Call struct {
	// Cluster is the one in which the app runs.
	*Cluster
	Topology protocol.Topology
	App      protocol.AppSpec
	Target   string
	Image    protocol.ImageRef
	Chart    protocol.ChartRef
	// Values are those of the app for the target; see [Call.Use].
	Values values.Set
	DryRun bool
	// Adopt says what of others may be taken over.
	Adopt    capability.Adoption
	Progress func(protocol.Event)
	// Irreversible is that of the chart, once it was rendered.
	Irreversible string
}

// Say reports one line of progress.
func (c *Call) Say(phase, format string, args ...any) {
	c.Progress(protocol.Event{Phase: phase, Message: Clean(fmt.Sprintf(format, args...))})
}

// Use makes the values those of the call. What is secret of them is not in its
// progress and errors from then on.
func (c *Call) Use(v values.Set) {
	c.Values = v
	progress := c.Progress
	c.Progress = func(e protocol.Event) {
		e.Message = v.Mask(e.Message)
		progress(e)
	}
}

// MaskIn has what is secret of the values masked in a diff.
func (c *Call) MaskIn(objects []difference.Object) {
	if !c.Values.IsSecret() {
		return
	}
	for i := range objects {
		objects[i].Mask = c.Values.Mask
	}
}

// Clean makes text from a cluster fit to be shown on one line.
func Clean(text string) string { return rollout.Clean(strings.Join(strings.Fields(text), " ")) }

// PinnedImage is the image by its digest, registry/repository@sha256:…, or "" for an
// app without one.
func (c *Call) PinnedImage() string {
	if c.Image.IsNone() {
		return ""
	}
	return c.Image.FullName() + "@" + c.Image.Digest
}

// Result is the document for an outcome, without the release's image and chart.
func (c *Call) Result(adapter string, outcome protocol.Outcome) protocol.DeployResult {
	r := protocol.DeployResult{
		Metadata: c.App.Metadata, Target: c.Target, Adapter: adapter, Context: c.Context, Namespace: c.Namespace,
		Release: c.App.Name, Outcome: outcome, Planned: c.DryRun,
	}
	if outcome == protocol.OutcomeUpgraded {
		r.Irreversible = c.Irreversible
		if name := c.App.IrreversibleMigration(); name != "" {
			r.Irreversible = "migration " + name
		}
	}
	return r
}

// Lock is a change of a release under a Lease in the namespace of a cluster,
// without its work. what names the release for people.
func (c *Call) Lock(at *Cluster, namespace, release, what string) Change {
	return Change{
		Conn: at.Conn, Leases: at.Client.CoordinationV1().Leases(namespace), Release: release, What: what,
		DryRun: c.DryRun, Progress: c.Progress,
	}
}

// Explained is [Explain] for a call to the API server of conn, without what is
// secret.
func (c *Call) Explained(ctx context.Context, conn *conn.Conn, limit time.Duration, err error) error {
	return c.Values.Masked(Explain(ctx, conn, "deploy "+c.App.Name+" to "+c.Target, limit, err))
}
