package delivery

import (
	"context"
	"errors"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/migration"
	"github.com/nationtech/harmony/internal/cluster/namespace"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Migration runs the migrations of a call's app, before its deploy and under the lease of
// that.
type Migration struct {
	*Call
	// Adapter is the name of the one that delivers.
	Adapter string
	// Lock is a change of what is about to be deployed, without its work.
	Lock Change
	// Around is what the deploy needs of the namespace.
	Around namespace.Wanted
	// May fails for a deploy that would be refused. It is asked under the lease too.
	May func(context.Context) error
}

// leaseTime is how long the lease is waited for, besides the time of the migrations that its
// holder may run.
const leaseTime = 5 * time.Minute

// Run runs what has not run for this version. There is a report as well as an error when one
// of the migrations failed.
func (m Migration) Run(ctx context.Context) (protocol.MigrationReport, error) {
	limit := leaseTime
	for _, one := range m.App.Migrations {
		limit += one.Limit()
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var results []protocol.MigrationResult
	err := m.run(ctx, bounded, &results)
	err = m.Values.Masked(Explain(ctx, m.Conn, "migrate "+m.App.Name+" on "+m.Target, limit, err))
	if err != nil && len(results) == 0 {
		return protocol.MigrationReport{}, err
	}
	report := protocol.NewMigrationReport(m.App.Metadata, m.Target, m.Adapter, results, err)
	report.Planned = m.DryRun
	if _, told := errors.AsType[*protocol.Error](err); err != nil && !told && ctx.Err() == nil {
		err = &protocol.Error{Code: protocol.ExitFailed, Err: err, Hint: "nothing was deployed to " + m.Target + "; once the migration is mended, the next run tries it again"}
	}
	return report, err
}

func (m Migration) run(ctx, bounded context.Context, results *[]protocol.MigrationResult) error {
	if err := namespace.Check(bounded, m.Client, m.Namespace); err != nil {
		return err
	}
	if err := m.May(bounded); err != nil {
		return err
	}
	c := m.Lock
	c.Plan = func(ctx context.Context) (_ protocol.DeployResult, err error) {
		*results, err = m.runner(nil).Plan(ctx)
		return protocol.DeployResult{}, err
	}
	c.Prepare = func(ctx context.Context) error { return m.Around.Ensure(ctx, m.Client) }
	c.Work = func(ctx context.Context, _ bool) (_ protocol.DeployResult, err error) {
		if err := m.May(ctx); err != nil {
			return protocol.DeployResult{}, err
		}
		secrets, err := m.secrets(ctx)
		if err != nil {
			return protocol.DeployResult{}, err
		}
		*results, err = m.runner(secrets).Run(ctx)
		return protocol.DeployResult{}, err
	}
	_, err := c.Run(ctx, bounded)
	return err
}

// runner runs the migrations. What is secret is not told.
func (m Migration) runner(secrets map[string]any) *migration.Runner {
	r := m.Migrations()
	if m.Around.PullSecret != nil {
		r.PullSecrets = []string{m.Around.PullSecret.Name}
	}
	known := values.Secretly(m.App, m.Target, secrets)
	r.Mask = func(text string) string { return known.Mask(m.Values.Mask(text)) }
	return r
}

// Migrations are those of the call's app on its cluster.
func (c *Call) Migrations() *migration.Runner {
	return &migration.Runner{
		Client: c.Client, Conn: c.Conn, Namespace: c.Namespace, App: c.App, Image: c.Image,
		Mask: c.Values.Mask, Say: func(format string, args ...any) { c.Say(protocol.PhaseStep, format, args...) },
	}
}

// shortestSecret is from which length on what a Secret holds is masked, in bytes: less, such
// as a 1, stands for something else as well.
const shortestSecret = 4

// secrets are the values of the Secrets that the migrations get, as far as they may be read.
func (m Migration) secrets(ctx context.Context) (map[string]any, error) {
	all := map[string]any{}
	for _, name := range secretNames(m.App.Migrations) {
		found, err := m.Client.CoreV1().Secrets(m.Namespace).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for key, value := range found.Data {
			if len(value) >= shortestSecret {
				all[name+"/"+key] = string(value)
			}
		}
	}
	return all, nil
}

func secretNames(migrations []protocol.Migration) (names []string) {
	for _, one := range migrations {
		for _, ref := range one.Job.EnvRefs {
			names = append(names, ref.Secret)
		}
		for _, from := range one.Job.EnvFrom {
			names = append(names, from.Secret)
		}
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
}

// Forget removes what the migrations of an app have left on a target: the record of what has
// run, and Jobs. It returns what that is; in a dry run, what it would be.
func (b *Base) Forget(ctx context.Context, app protocol.AppSpec, target string) ([]protocol.ObjectRef, error) {
	c, err := b.Open(app, target)
	if err != nil {
		return nil, err
	}
	left, err := c.Migrations().Left(ctx)
	if apierrors.IsForbidden(err) {
		return nil, nil // who may not see them has not run any
	}
	for i := range left {
		left[i].Context = c.Context
	}
	if err != nil || len(left) == 0 || c.DryRun {
		return left, c.Conn.Explain(err)
	}
	lock := c.Lock(c.Cluster, c.Namespace, app.Name, "release "+app.Name)
	lock.Work = func(ctx context.Context, _ bool) (protocol.DeployResult, error) {
		return protocol.DeployResult{}, c.Migrations().Forget(ctx)
	}
	bounded, cancel := context.WithTimeout(ctx, leaseTime)
	defer cancel()
	_, err = lock.Run(bounded, bounded)
	return left, Explain(ctx, c.Conn, c.Uninstalling(), leaseTime, err)
}
