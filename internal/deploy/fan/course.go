package fan

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/namespace"
	"github.com/nationtech/harmony/internal/cluster/waves"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// homeAway is how long the API server of the first cluster may be away.
	homeAway = 30 * time.Second
	// patience is how long another process that works on the target is waited for.
	patience = 5 * time.Minute
	// look is how often a rollout that is followed looks whether it may go on.
	look = 2 * time.Second
)

// home is the first of a target's clusters, whichever of them a command is limited to. It
// has the lease of the whole target and the record of the rollout.
type home struct {
	conn   *conn.Conn
	client kubernetes.Interface
	// now is the API server's time.
	now func(context.Context) (time.Time, error)
}

// connectHome makes the home on a cluster. It sends nothing.
func (d *fanned) connectHome(first conn.Cluster, target string) (*home, error) {
	flags, err := first.Flags()
	if err != nil {
		return nil, err
	}
	c, err := conn.Connect(flags, first.Topology(d.env.Topology, target), target)
	if err != nil {
		return nil, err
	}
	cluster, err := delivery.NewCluster(c)
	if err != nil {
		return nil, err
	}
	return &home{c, cluster.Client, func(ctx context.Context) (time.Time, error) { return namespace.Now(ctx, c.Config) }}, nil
}

// homeOf is the home of a target; clusters are those that the command is limited to.
func (d *fanned) homeOf(ctx context.Context, target string, clusters []conn.Cluster) (*home, error) {
	if d.limited() {
		all := *d.flags
		all.Context = ""
		var err error
		if clusters, err = conn.Clusters(ctx, &all, d.env.Topology, target); err != nil {
			return nil, err
		}
	}
	return d.home(d, clusters[0], target)
}

// limited reports that the command is limited to one of the clusters. It goes to that one
// whatever happens between waves, for its user says so.
func (d *fanned) limited() bool { return d.flags.Context != "" }

func (h *home) store(app, target string) waves.Store {
	return waves.Store{ConfigMaps: h.client.CoreV1().ConfigMaps(h.conn.Namespace), App: app, Target: target}
}

// course is the way of one rollout, by its record.
type course struct {
	*home
	store  waves.Store
	retry  func(context.Context, func() error) error
	record *waves.Record
	// resumed says that the rollout was begun by another run.
	resumed bool
}

// alone does the work while no other process works on the target. In a dry run, and where
// the namespace is not there and not made either, the course is nil.
func (d *fanned) alone(ctx context.Context, app protocol.AppSpec, target string, clusters []conn.Cluster, makes bool,
	work func(context.Context, *course) (protocol.DeployResult, error)) (protocol.DeployResult, error) {
	if d.env.DryRun {
		return work(ctx, nil)
	}
	h, err := d.homeOf(ctx, target, clusters)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	progress := delivery.Progress(d.env, app)
	c := &course{home: h, store: h.store(app.Name, target), retry: func(ctx context.Context, call func() error) error {
		return delivery.Retry(ctx, h.conn, homeAway, progress, call)
	}}
	what := app.Name + " on " + target
	explained := func(err error) error { return delivery.Explain(ctx, h.conn, "release "+what, homeAway, err) }
	if !makes {
		there, err := delivery.Retried(ctx, c.retry, c.isThere)
		if err != nil || !there {
			return orElse(explained(err), func() (protocol.DeployResult, error) { return work(ctx, nil) })
		}
	}
	var failure error // of the work, which explains itself
	worked := false
	change := delivery.Change{
		Conn: h.conn, Leases: h.client.CoordinationV1().Leases(h.conn.Namespace), Release: waves.Name(app.Name, target), What: what,
		Progress: progress, Retry: c.retry,
		Prepare: func(ctx context.Context) error { return c.prepare(ctx, app.Name, makes) },
		Work: func(ctx context.Context, _ bool) (result protocol.DeployResult, err error) {
			worked = true
			result, failure = work(ctx, c)
			return result, failure
		},
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	result, err := change.Run(ctx, bounded)
	if !worked {
		err = explained(err)
	}
	return result, err
}

func orElse(err error, do func() (protocol.DeployResult, error)) (protocol.DeployResult, error) {
	if err != nil {
		return protocol.DeployResult{}, err
	}
	return do()
}

func (c *course) isThere(ctx context.Context) (bool, error) {
	_, err := c.client.CoreV1().Namespaces().Get(ctx, c.conn.Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if apierrors.IsForbidden(err) {
		return true, nil // what follows will tell
	}
	return true, err
}

// prepare makes the namespace for the lease. A chart may have it too, and Helm has to take
// it for the release's then.
func (c *course) prepare(ctx context.Context, app string, makes bool) error {
	if !makes {
		return nil
	}
	return namespace.Wanted{Name: c.conn.Namespace, Release: app}.Ensure(ctx, c.client)
}

// change changes the record. What change refuses is not tried again.
func (c *course) change(ctx context.Context, change func(r *waves.Record, now time.Time) (*waves.Record, error)) error {
	var refused error
	err := c.retry(ctx, func() error {
		now, err := c.now(ctx)
		if err != nil {
			return err
		}
		changed, err := c.store.Change(ctx, func(r *waves.Record) (next *waves.Record, _ error) {
			next, refused = change(r, now)
			return next, refused
		})
		if refused != nil {
			return nil
		}
		if err == nil {
			c.record = changed
		}
		return err
	})
	return errors.Join(refused, err)
}

// update changes the record of this rollout. One that somebody else has removed meanwhile
// is an error.
func (c *course) update(ctx context.Context, change func(r *waves.Record, now time.Time)) error {
	return c.change(ctx, func(r *waves.Record, now time.Time) (*waves.Record, error) {
		if r == nil {
			return nil, &protocol.Error{Code: protocol.ExitFailed, Message: fmt.Sprintf("the record of the rollout on %s is gone", c.conn.Context), Hint: "run the same release again"}
		}
		change(r, now)
		return r, nil
	})
}

// begin takes up the rollout of a release. An older version than one of the clusters has is
// refused before the first of them is touched, where the topology refuses that; each
// cluster looks again, under its own lease.
func (d *fanned) begin(ctx context.Context, c *course, app protocol.AppSpec, target string, clusters []conn.Cluster, fresh waves.Record) error {
	before, err := delivery.Retried(ctx, c.retry, c.store.Read)
	if err != nil {
		return c.conn.Explain(err)
	}
	same := before != nil && before.Same(fresh.Version, fresh.Image, fresh.Chart)
	if d.env.Topology.RefusesDowngrade(target) && !same {
		runs, _ := eachOf(ctx, d, target, clusters, func(ctx context.Context, a delivery.Adapter) ([]status.Entry, error) {
			return a.Status(ctx, app, target)
		})
		for _, one := range runs { // one that cannot be read fails when it is delivered to
			for _, e := range one.value {
				if err := delivery.Downgrade(d.env.Topology, app, target, e.Version); err != nil {
					return fmt.Errorf("cluster %s: %w", one.name, err)
				}
			}
		}
	}
	return c.conn.Explain(c.begin(ctx, fresh))
}

// begin takes up the record of the release, or puts a new one in its place.
func (c *course) begin(ctx context.Context, fresh waves.Record) error {
	return c.change(ctx, func(r *waves.Record, now time.Time) (*waves.Record, error) {
		c.resumed = r != nil && r.Same(fresh.Version, fresh.Image, fresh.Chart)
		of := fmt.Sprintf("%s --target %s", c.store.App, c.store.Target)
		switch {
		case c.resumed && r.State == waves.Aborted:
			return nil, protocol.Unsupported("the rollout of %s %s to %s was %s", c.store.App, r.Version, c.store.Target, r).
				WithHint("release another version, or let this one go on: harmony rollout resume %s", of)
		case r != nil && !c.resumed && r.Held():
			return nil, protocol.Retryable("%s is in the middle of a rollout of %s %s, which %s: no other release begins before it ends", c.store.Target, c.store.App, r.Version, waits(r)).
				WithHint("end it with harmony rollout abort %s, or let it go on to its end: harmony rollout resume", of)
		case !c.resumed:
			r = &fresh
			r.Enter(waves.Rolling, "", now)
		case r.State == waves.Failed:
			r.Enter(waves.Rolling, "", now)
		}
		if r.Waves != fresh.Waves { // others are asked for by now
			r.Waves, r.Done, r.Checked, r.Until = fresh.Waves, 0, false, nil
		}
		return r, nil
	})
}

// waits tells what a held rollout does.
func waits(r *waves.Record) string {
	if r.State == waves.Waiting {
		return r.String()
	}
	return "is " + r.String()
}

// instead does work over the clusters that is no deploy. With it a rollout is over, and
// its record goes: something else runs then.
func (d *fanned) instead(ctx context.Context, r *rollout, clusters []conn.Cluster) (protocol.DeployResult, error) {
	return d.alone(ctx, r.app, r.target, clusters, false, func(ctx context.Context, c *course) (protocol.DeployResult, error) {
		if c != nil && !d.limited() {
			if err := c.retry(ctx, func() error { return c.store.Forget(ctx) }); err != nil {
				return protocol.DeployResult{}, c.conn.Explain(err)
			}
		}
		return r.run(ctx)
	})
}
