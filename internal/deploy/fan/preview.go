package fan

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/namespace"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// previewAway is how long an API server that is away is waited for before a preview
	// is renewed, and previewTime how long its namespace may take to go.
	previewAway = 30 * time.Second
	previewTime = 5 * time.Minute
)

// preview is the namespace of an app on a target for previews.
type preview struct {
	delivery.Call
	want namespace.Preview
}

// previewOf is the preview of an app; nil where the target is for none.
func (d *fanned) previewOf(app protocol.AppSpec, target string) (*preview, error) {
	in := d.env.Topology.Targets[target].InCluster
	if in == nil || !in.IsPreview() {
		return nil, nil
	}
	base := delivery.Base{Flags: d.flags, Env: d.env}
	call, err := base.Open(app, target)
	if err != nil {
		return nil, err
	}
	name, err := in.NamespaceOf(app.Name)
	if err == nil && name != call.Namespace {
		err = protocol.Invalid("--namespace %s: the namespace of the preview of %s on %s is %s", call.Namespace, app.Name, target, name).
			WithHint("leave --namespace out, or name another target")
	}
	if err != nil {
		return nil, err
	}
	return &preview{call, namespace.Preview{
		Name: name, Target: target, Of: *in.Preview, App: app.Name, Shared: in.Shared(), TTL: time.Duration(in.TTL),
	}}, nil
}

// renew makes the namespace of a preview, or puts off its end, before anything is
// delivered to it. On other targets there is nothing to do.
func (d *fanned) renew(ctx context.Context, app protocol.AppSpec, target string) error {
	p, err := d.previewOf(app, target)
	if err != nil || p == nil {
		return err
	}
	err = delivery.Retry(ctx, p.Conn, previewAway, p.Progress, func() error {
		if p.DryRun {
			return p.want.Checked(ctx, p.Client)
		}
		now, err := namespace.Now(ctx, p.Config)
		if err != nil {
			return err
		}
		return p.want.Renew(ctx, p.Client, now, p.waits)
	})
	return delivery.Explain(ctx, p.Conn, "prepare the preview of "+app.Name+" on "+target, previewAway, err)
}

func (p *preview) waits(holder string, since time.Time) {
	p.Say("wait", "preview %s is being renewed or removed by %s since %s", p.want.Name, holder, since.Format(time.TimeOnly))
}

// removePreview removes an app, and the namespace of its preview when no other app is
// in it.
func (d *fanned) removePreview(ctx context.Context, p *preview, app protocol.AppSpec, target string) (protocol.DeployResult, error) {
	if err := p.want.Checked(ctx, p.Client); err != nil {
		return protocol.DeployResult{}, p.Conn.Explain(err)
	}
	var result protocol.DeployResult
	done := false
	r := p.removal(func(ctx context.Context, _ []string) (err error) {
		done = true
		result, err = removed(ctx, d.one, app, target)
		return err
	})
	gone, err := r.Run(ctx, app.Name)
	if err == nil && !done { // what delivers it may lie elsewhere
		result, err = removed(ctx, d.one, app, target)
	}
	if err == nil && gone {
		result, err = p.goes(ctx, result)
	}
	return result, p.Conn.Explain(err)
}

func (p *preview) removal(remove func(context.Context, []string) error) namespace.Removal {
	return namespace.Removal{
		Client: p.Client, Name: p.want.Name, Target: p.want.Target, DryRun: p.DryRun, Waiting: p.waits, Remove: remove,
	}
}

// goes is the result with the namespace, once that is gone: what an uninstall keeps
// goes with it.
func (p *preview) goes(ctx context.Context, r protocol.DeployResult) (protocol.DeployResult, error) {
	r.Outcome = protocol.OutcomeRemoved
	inside := func(o protocol.ObjectRef) bool { return o.Namespace == p.want.Name }
	for _, o := range r.Kept {
		if inside(o) {
			r.Removed = append(r.Removed, o)
		}
	}
	r.Kept = slices.DeleteFunc(slices.Clone(r.Kept), inside)
	r.Removed = append(r.Removed, protocol.ObjectRef{Resource: "namespace", Name: p.want.Name, Context: p.Context})
	if p.DryRun {
		return r, nil
	}
	p.Say("remove", "namespace %s", p.want.Name)
	bounded, cancel := context.WithTimeout(ctx, previewTime)
	defer cancel()
	return r, namespace.AwaitGone(bounded, p.Client, p.want.Name)
}

// RemoveExpired removes the previews of a target whose time has passed, with the apps
// that were released to them: those of the list in its order, after all others. each
// gets the result of every app, and warn what keeps a preview from expiring. One that
// fails does not stop the others.
func (d *fanned) RemoveExpired(ctx context.Context, apps []protocol.AppSpec, target string, each func(protocol.DeployResult) error, warn func(string)) error {
	in := d.env.Topology.Targets[target].InCluster
	if in == nil || !in.IsPreview() || in.Preview == nil {
		return protocol.Unsupported("target %q is not for previews: its namespace has no {branch}, and nothing on it expires", target)
	}
	cluster, err := conn.Connect(d.flags, d.literally(*in, target, "default"), target)
	if err != nil {
		return err
	}
	clients, err := delivery.NewCluster(cluster)
	if err != nil {
		return err
	}
	now, err := namespace.Now(ctx, cluster.Config)
	if err != nil {
		return cluster.Explain(err)
	}
	expired, err := namespace.Expired(ctx, clients.Client, in.Preview.Project, target, now, warn)
	if err != nil {
		return cluster.Explain(err)
	}
	var errs []error
	for _, n := range expired {
		if err := d.removeExpired(ctx, apps, target, n, now, each); err != nil {
			errs = append(errs, fmt.Errorf("preview %s: %w", n.Name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return delivery.Together(errs)
}

// literally is the topology with the target's namespace as it is given.
func (d *fanned) literally(in protocol.InCluster, target, name string) protocol.Topology {
	t := d.env.Topology
	in.Namespace = name
	literal := t.Targets[target]
	literal.InCluster = &in
	t.Targets = maps.Clone(t.Targets)
	t.Targets[target] = literal
	return t
}

// removeExpired removes one preview, unless it was renewed meanwhile.
func (d *fanned) removeExpired(ctx context.Context, known []protocol.AppSpec, target string, n corev1.Namespace, now time.Time, each func(protocol.DeployResult) error) error {
	in := *d.env.Topology.Targets[target].InCluster
	of := namespace.Of(&n)
	in.Preview = &of
	env := d.env
	env.Topology = d.literally(in, target, n.Name) // also where the pattern is another now
	base := delivery.Base{Flags: d.flags, Env: env}
	first := append(namespace.Apps(&n), n.Name)[0] // whose progress that of the namespace is
	call, err := base.Open(protocol.AppSpec{Metadata: protocol.Metadata{Name: first}}, target)
	if err != nil {
		return err
	}
	one, err := d.make(d.flags)(ctx, env)
	if err != nil {
		return err
	}
	p := &preview{call, namespace.Preview{Name: n.Name, Target: target, Of: of}}
	var results []protocol.DeployResult
	r := p.removal(func(ctx context.Context, names []string) error {
		for _, app := range ordered(known, names) {
			result, err := one.Remove(ctx, app, target)
			if err != nil {
				return err
			}
			results = append(results, result)
		}
		return nil
	})
	r.Now = now
	gone, err := r.Run(ctx)
	if gone && err == nil {
		if len(results) == 0 {
			results = append(results, p.Result(d.env.Provider.Adapter, protocol.OutcomeRemoved))
		}
		last := &results[len(results)-1]
		*last, err = p.goes(ctx, *last)
	}
	for _, result := range results {
		if err := each(result); err != nil {
			return err
		}
	}
	return p.Conn.Explain(err)
}

// ordered are the apps of these names: what is not known first, then in the order of
// those known.
func ordered(known []protocol.AppSpec, names []string) []protocol.AppSpec {
	place := func(name string) int {
		return slices.IndexFunc(known, func(app protocol.AppSpec) bool { return app.Name == name })
	}
	var apps []protocol.AppSpec
	for _, name := range names {
		app := protocol.AppSpec{Metadata: protocol.Metadata{Name: name}}
		if i := place(name); i >= 0 {
			app = known[i]
		}
		apps = append(apps, app)
	}
	slices.SortStableFunc(apps, func(a, b protocol.AppSpec) int {
		if d := place(a.Name) - place(b.Name); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	return apps
}
