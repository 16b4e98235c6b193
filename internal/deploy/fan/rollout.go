package fan

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

type action func(context.Context, delivery.Adapter) (protocol.DeployResult, error)

// rollout is one run over the clusters of a target.
type rollout struct {
	*fanned
	app      protocol.AppSpec
	target   string
	multi    protocol.MultiCluster
	clusters []conn.Cluster
	each     func(protocol.DeployResult)
	// what names the work for people: deploy app to production.
	what string
	// act is done on every cluster, and undo on those of a wave that is given up;
	// nil where the topology does not want that.
	act, undo action
	// between is what happens between the waves; nil for nothing.
	between *between

	mu       sync.Mutex
	done     []end
	finished int
	failures int
	shown    time.Time
}

type end struct {
	outcome protocol.Outcome
	result  protocol.DeployResult
	// failure is what the cluster failed by.
	failure error
}

func (d *fanned) rollout(app protocol.AppSpec, target string, clusters []conn.Cluster, each func(protocol.DeployResult)) *rollout {
	return &rollout{
		fanned: d, app: app, target: target, multi: *d.env.Topology.Targets[target].MultiCluster,
		clusters: clusters, each: each, done: make([]end, len(clusters)), what: "deploy " + app.Name + " to " + target,
	}
}

// run goes through the waves, and returns the result for the target.
func (r *rollout) run(ctx context.Context) (protocol.DeployResult, error) {
	verdict := protocol.DeployResult{
		Metadata: r.app.Metadata, Target: r.target, Adapter: r.env.Provider.Adapter, Namespace: r.multi.Namespace, Planned: r.env.DryRun,
	}
	last, broken := r.waves(ctx, &verdict)
	broken = r.between.ends(ctx, cmp.Or(broken, ctx.Err()))
	skipped := "skipped: the rollout stopped earlier"
	if r.held() {
		verdict.Message = r.between.waits()
		skipped = "not reached yet: the rollout " + verdict.Message
	}
	for i := range r.clusters {
		if r.done[i].outcome == "" {
			r.finish(i, protocol.DeployResult{Outcome: protocol.OutcomeSkipped, Message: skipped}, nil)
		}
	}
	return r.conclude(ctx, verdict, "in "+last, broken)
}

// waves goes through the waves, as far as it may, and tells in which it ended.
func (r *rollout) waves(ctx context.Context, verdict *protocol.DeployResult) (last string, err error) {
	steps := r.multi.Steps(len(r.clusters))
	start := 0
	for wave, step := range steps {
		last = fmt.Sprintf("wave %d of %d", wave+1, len(steps))
		if ok, err := r.between.mayBegin(ctx, wave); err != nil || !ok {
			return last, err
		}
		r.wave(ctx, start, step.End, last, verdict)
		ok := true
		if verdict.Message = r.pausedOn(); verdict.Message == "" && ctx.Err() == nil && !r.stopped() {
			ok, err = r.between.after(ctx, wave, start, step.End, step.Gate)
		}
		if ctx.Err() != nil {
			return last, ctx.Err()
		}
		if r.stopped() {
			r.giveUp(ctx, start, step.End)
			return last, err
		}
		if err != nil || !ok || verdict.Message != "" {
			return last, err
		}
		start = step.End
	}
	return last, nil
}

// held reports a rollout that goes no further for now, and is no failure.
func (r *rollout) held() bool { return r.between != nil && r.between.held }

// wave works on the clusters from start to end. It starts no more of them once
// too many have failed; those in progress are finished.
func (r *rollout) wave(ctx context.Context, start, end int, name string, verdict *protocol.DeployResult) {
	r.say(name)
	var group errgroup.Group
	group.SetLimit(r.multi.AtOnce())
	for i := start; i < end; i++ {
		group.Go(func() error {
			if r.stopped() || ctx.Err() != nil {
				return nil
			}
			result, err := r.on(ctx, i, r.act)
			r.finish(i, result, err)
			if err == nil {
				r.proven(verdict, result)
			}
			r.say(name)
			return nil
		})
	}
	_ = group.Wait() // what failed is told by the clusters' ends
}

// on runs an action on a cluster. A panic is an error.
func (r *rollout) on(ctx context.Context, i int, do action) (result protocol.DeployResult, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &protocol.Error{Code: protocol.ExitFailed, Message: fmt.Sprintf("internal error: %v", p), Hint: "please report this"}
		}
	}()
	cluster := r.clusters[i]
	a, err := r.open(ctx, cluster, r.target, func(e protocol.Event) { r.pass(cluster.Name, e) })
	if err != nil {
		return protocol.DeployResult{}, err
	}
	return do(ctx, a)
}

// finish records and reports the outcome of a cluster.
func (r *rollout) finish(i int, result protocol.DeployResult, err error) {
	result.Metadata, result.Target, result.Cluster = r.app.Metadata, r.target, r.clusters[i].Name
	if result.Adapter == "" {
		result.Adapter, result.Namespace, result.Planned = r.env.Provider.Adapter, r.multi.Namespace, r.env.DryRun
	}
	if err != nil {
		result.Message = brief(err)
		if result.Outcome != protocol.OutcomeRolledBack {
			result.Outcome, result.Image, result.Images, result.Chart = protocol.OutcomeFailed, "", nil, ""
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done[i].outcome == "" && result.Outcome != protocol.OutcomeSkipped {
		r.finished++
	}
	if err != nil && r.done[i].failure == nil {
		r.failures++
	}
	if err == nil {
		err = r.done[i].failure
	}
	r.done[i] = end{outcome: result.Outcome, result: result, failure: err}
	r.each(result)
}

// proven copies the digests of a cluster into the verdict, and the objects that an
// uninstall removed and kept there.
func (r *rollout) proven(verdict *protocol.DeployResult, result protocol.DeployResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if verdict.Image == "" {
		verdict.Image, verdict.Images, verdict.Chart, verdict.Version = result.Image, result.Images, result.Chart, result.Version
	}
	verdict.Removed, verdict.Kept = append(verdict.Removed, result.Removed...), append(verdict.Kept, result.Kept...)
}

// stopped reports that more clusters failed than allowed. A dry run covers them all.
func (r *rollout) stopped() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.env.DryRun && r.failures > r.multi.Failures(len(r.clusters))
}

// pausedOn says what a cluster's own controller waits for before its rollout is over, or
// "". No wave follows until then.
func (r *rollout) pausedOn() string {
	for i, end := range r.done {
		if end.outcome == protocol.OutcomePaused {
			return r.clusters[i].Name + ": " + end.result.Message
		}
	}
	return ""
}

// giveUp goes back on those clusters of the wave that this run has upgraded.
// What it installed stays: there is nothing to go back to.
func (r *rollout) giveUp(ctx context.Context, start, end int) {
	if r.undo == nil || r.between != nil && r.between.stays {
		return
	}
	var group errgroup.Group
	group.SetLimit(r.multi.AtOnce())
	for i := start; i < end; i++ {
		if !r.goesBack(i) {
			continue
		}
		group.Go(func() error {
			r.env.Progress(protocol.Event{Metadata: r.app.Metadata, Phase: "rollback", Message: r.clusters[i].Name + ": rolls back with its wave"})
			result, err := r.on(ctx, i, r.undo)
			if err != nil {
				r.finish(i, protocol.DeployResult{}, fmt.Errorf("its wave was given up, and the rollback failed: %w", err))
				return nil
			}
			result.Message = "its wave was given up"
			r.finish(i, result, nil)
			return nil
		})
	}
	_ = group.Wait()
}

// goesBack reports a cluster that runs the release by this rollout, and another before.
func (r *rollout) goesBack(i int) bool {
	switch r.done[i].outcome {
	case protocol.OutcomeUpgraded:
		return true
	case protocol.OutcomeUnchanged: // by a run before this one
		return r.between != nil && r.between.record.Has(r.clusters[i].Name)
	}
	return false
}

// briefly bounds what a cluster's document says of an error, in bytes.
const briefly = 2000

func brief(err error) string {
	text := err.Error()
	if len(text) > briefly {
		text = strings.ToValidUTF8(text[:briefly], "") + "…"
	}
	return text
}

func (r *rollout) say(wave string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.env.Progress(protocol.Event{
		Metadata: r.app.Metadata, Phase: "wave", Message: wave + ",", Current: int64(r.finished), Total: int64(len(r.clusters)), Unit: "clusters",
	})
}

// pause is the least time between the events of clusters that are passed on.
const pause = 100 * time.Millisecond

// pass hands on progress of a cluster, with its name, as far as people can see
// it.
func (r *rollout) pass(cluster string, e protocol.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.shown) < pause {
		return
	}
	r.shown = time.Now()
	e.Message = cluster + ": " + e.Message
	r.env.Progress(e)
}

// conclude derives the verdict from the outcomes of the clusters.
// broken is what kept the rollout from going on, besides them.
func (r *rollout) conclude(ctx context.Context, verdict protocol.DeployResult, where string, broken error) (protocol.DeployResult, error) {
	var count protocol.ClusterCount
	for _, e := range r.done {
		count.Add(e.outcome)
	}
	verdict.Clusters, verdict.Outcome = &count, count.Outcome()
	if r.failures == 0 && broken == nil {
		if r.held() {
			verdict.Outcome = protocol.OutcomePaused
		}
		if verdict.Outcome == protocol.OutcomePaused {
			verdict.Image, verdict.Images, verdict.Chart = "", nil, ""
		}
		return verdict, nil
	}
	if verdict.Outcome != protocol.OutcomeRolledBack {
		verdict.Outcome = protocol.OutcomeFailed
	}
	verdict.Image, verdict.Images, verdict.Chart = "", nil, ""
	switch {
	case r.failures > 0:
		return verdict, r.failure(count, where)
	case ctx.Err() != nil:
		return verdict, fmt.Errorf("%s: interrupted, with %d of %d clusters done: %w", r.what, r.finished, len(r.clusters), ctx.Err())
	}
	return verdict, broken
}

// listed bounds how many clusters an error names.
const listed = 10

// failure is the error that lists the clusters' failures, with the worst of
// their statuses.
func (r *rollout) failure(count protocol.ClusterCount, where string) error {
	var codes []int
	var lines []string
	var hint string
	for i, end := range r.done {
		if end.failure == nil {
			continue
		}
		codes = append(codes, protocol.ExitCode(end.failure))
		if hint == "" {
			hint = protocol.HintOf(end.failure)
		}
		lines = append(lines, r.clusters[i].Name+": "+brief(end.failure))
	}
	text := fmt.Sprintf("%d of %d clusters of target %q failed, %s%s", r.failures, count.Total, r.target, where, term.Listed(lines, listed))
	if count.RolledBack > 0 {
		text += fmt.Sprintf("\nrolled back: %d", count.RolledBack)
	}
	if count.Skipped > 0 {
		text += fmt.Sprintf("\nskipped: %d", count.Skipped)
	}
	if hint == "" {
		hint = "fix the failing clusters and run the same command again: clusters that are done are left as they are"
	}
	code := protocol.WorstCode(codes...)
	if begun := count.Installed + count.Upgraded + count.RolledBack + count.Removed; begun > 0 && (code == protocol.ExitInvalid || code == protocol.ExitUnsupported) {
		code = protocol.ExitFailed // these two say that nothing was started
	}
	return &protocol.Error{Code: code, Message: text, Hint: hint}
}
