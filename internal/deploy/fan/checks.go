package fan

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/smoke"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// analyse runs checks over a wave: on each cluster those that go through one, and the
// others once, for all of them.
func (b *between) analyse(ctx context.Context, start, end int, checks []protocol.SmokeCheck) error {
	app := b.app
	app.Smoke = checks
	inside, outside, err := smoke.Split(app, b.target)
	if err != nil {
		return err
	}
	b.checkEach(ctx, start, end, inside)
	if len(outside.Smoke) == 0 || b.stopped() || ctx.Err() != nil {
		return ctx.Err()
	}
	b.say("smoke", "analysis of the wave: "+names(outside.Smoke))
	if err := b.check(ctx, b.flags, b.env, outside, b.target, protocol.DeployResult{}); err != nil && ctx.Err() == nil {
		b.failEach(ctx, start, end, func(int) error { return err })
	}
	return ctx.Err()
}

func names(checks []protocol.SmokeCheck) string {
	list := make([]string, len(checks))
	for i, check := range checks {
		list[i] = check.Name
	}
	return strings.Join(list, ", ")
}

// checkEach runs the app's checks on the clusters from start to end.
func (b *between) checkEach(ctx context.Context, start, end int, app protocol.AppSpec) {
	if len(app.Smoke) == 0 {
		return
	}
	b.say("smoke", fmt.Sprintf("checks on the clusters of the wave, %d: %s", end-start, names(app.Smoke)))
	b.failEach(ctx, start, end, func(i int) error {
		flags, err := b.clusters[i].Flags()
		if err != nil {
			return err
		}
		env := b.env
		env.Topology, env.Cluster = b.clusters[i].Topology(b.env.Topology, b.target), b.clusters[i].Name
		env.Progress = func(e protocol.Event) { b.pass(env.Cluster, e) }
		return b.check(ctx, flags, env, app, b.target, b.done[i].result)
	})
}

// failEach has clusters fail by what look finds, several at once: those that have not
// failed before. They are rolled back by themselves.
func (b *between) failEach(ctx context.Context, start, end int, look func(i int) error) {
	var group errgroup.Group
	group.SetLimit(b.multi.AtOnce())
	for i := start; i < end; i++ {
		if b.done[i].failure != nil {
			continue
		}
		group.Go(func() error {
			if err := look(i); err != nil && ctx.Err() == nil {
				b.fail(ctx, i, fmt.Errorf("after its wave: %w", err))
			}
			return nil
		})
	}
	_ = group.Wait() // the clusters tell
}

// fail has a cluster fail whose deploy was good. One that the rollout has upgraded is
// rolled back when a check says that it does not work.
func (b *between) fail(ctx context.Context, i int, failure error) {
	back := b.undo != nil && !b.stays && b.goesBack(i) && b.done[i].result.Irreversible == "" && protocol.ExitCode(failure) == protocol.ExitSmoke
	if !back {
		b.finish(i, protocol.DeployResult{}, failure)
		return
	}
	b.env.Progress(protocol.Event{Metadata: b.app.Metadata, Phase: "rollback", Message: b.clusters[i].Name + ": rolls back: " + failure.Error()})
	result, err := b.on(ctx, i, b.undo)
	if err != nil {
		failure = &protocol.Error{Code: protocol.ExitFailed, Message: fmt.Sprintf("%v\nand the rollback failed: %v", failure, err), Hint: protocol.HintOf(err)}
	}
	b.finish(i, result, failure)
}

// checked finds what is wrong with the checks of a target before its first wave.
func (d *fanned) checked(ctx context.Context, app protocol.AppSpec, target string, first conn.Cluster, steps []protocol.WaveStep) error {
	flags, err := first.Flags()
	if err != nil {
		return nil // told by the deploy to it
	}
	env := d.env
	env.Topology, env.Cluster = first.Topology(d.env.Topology, target), first.Name
	env.DryRun, env.Progress = true, func(protocol.Event) {}
	for _, step := range steps {
		own, analysis := app, app
		analysis.Smoke = step.Gate.Analysis
		if !step.Gate.Checks {
			own.Smoke = nil
		}
		for _, checks := range []protocol.AppSpec{own, analysis} {
			if _, _, err := smoke.Split(checks, target); err != nil {
				return err
			}
			if err := d.check(ctx, flags, env, checks, target, protocol.DeployResult{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// check runs the checks of an app on the target of the environment.
func (d *fanned) check(ctx context.Context, flags *conn.Flags, env capability.Environment, app protocol.AppSpec, target string, deployed protocol.DeployResult) error {
	if len(app.Smoke) == 0 {
		return nil
	}
	checker, err := d.checks(flags)(ctx, env)
	if err != nil {
		return err
	}
	if one, ok := checker.(capability.DeployedChecker); ok {
		_, err = one.CheckDeployed(ctx, app, deployed, target)
		return err
	}
	_, err = checker.Check(ctx, app, target)
	return err
}
