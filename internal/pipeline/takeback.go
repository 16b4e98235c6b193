package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/nationtech/harmony/internal/plugins/process"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// checkedScore is a SmokeScore that takes the target back to the release before when
// a check failed. The app has failed all the same.
type checkedScore struct {
	capability.Score
	release Release
	target  string
}

// Run implements [capability.Score].
func (s checkedScore) Run(ctx context.Context, record *capability.Record) error {
	err := s.Score.Run(ctx, record)
	if protocol.ExitCode(err) != protocol.ExitSmoke || ctx.Err() != nil {
		return err
	}
	return &capability.StageError{Stage: capability.StageSmoke, Target: s.target, Err: s.afterFailure(ctx, record, err)}
}

// afterFailure takes the target back, or leaves it, and adds to the failure where it
// stands.
func (s checkedScore) afterFailure(ctx context.Context, record *capability.Record, failure error) error {
	app := s.App()
	deployed, clusters := s.deployed(record)
	if why := s.release.staysFor(s.target, deployed, clusters); why != "" {
		return s.left(failure, why)
	}
	back, err := s.takeBack(ctx, record, deployed, clusters)
	if back.Outcome != "" {
		record.Add(capability.StageDeploy, s.target, back)
	}
	code := protocol.ExitCode(err)
	switch {
	case err == nil:
		text := s.standing(back) + s.checkAgain(ctx, record, back)
		return &protocol.Error{Code: protocol.ExitSmoke, Message: failure.Error() + "\n" + text, Hint: protocol.HintOf(failure)}
	case ctx.Err() != nil:
		return interruptedBack{&protocol.Error{
			Code:    protocol.ExitInterrupted,
			Message: fmt.Sprintf("%s\ninterrupted while %s was taken back: it runs %s, what ran before, or both", failure, s.target, app.Version),
			Hint:    s.lookHint(),
		}}
	case code == protocol.ExitInvalid || code == protocol.ExitUnsupported: // nothing was changed
		return s.left(failure, err.Error())
	}
	return &protocol.Error{Code: protocol.ExitFailed, Message: fmt.Sprintf("%s\nand taking %s back failed: %s", failure, s.target, err), Hint: s.lookHint()}
}

// left adds to the failure why the target was left as it is.
func (s checkedScore) left(failure error, why string) error {
	text := fmt.Sprintf("%s\n%s was left on %s: %s", failure, s.target, s.App().Version, why)
	return &protocol.Error{Code: protocol.ExitSmoke, Message: text, Hint: cmp.Or(protocol.HintOf(failure), s.lookHint())}
}

func (s checkedScore) lookHint() string {
	at := s.App().Name + " --target " + s.target
	return fmt.Sprintf("harmony status %s shows what runs; harmony rollback %s returns to the release before", at, at)
}

// standing says what runs since the target was taken back.
func (s checkedScore) standing(back protocol.DeployResult) string {
	version := cmp.Or(back.RunningVersion, "the release before")
	if back.Outcome == protocol.OutcomePublished {
		return fmt.Sprintf("the devices of %s were told to go back to %s", s.target, version)
	}
	text := fmt.Sprintf("%s was taken back to %s", s.target, version)
	if back.Image != "" {
		text += ", image " + back.Image
	}
	return text
}

// deployed are the results of this run's deploy to the target.
func (s checkedScore) deployed(record *capability.Record) (deployed protocol.DeployResult, clusters []protocol.DeployResult) {
	for _, made := range record.Of(s.App().Name, s.target, protocol.KindDeployResult) {
		deployed, _ = made.(protocol.DeployResult)
	}
	if deployed.Clusters != nil {
		clusters = s.release.clusters.of(s.App().Name, s.target)
	}
	return deployed, clusters
}

// takeBack has the deploy plugin bring back what ran before.
func (s checkedScore) takeBack(ctx context.Context, record *capability.Record, deployed protocol.DeployResult, clusters []protocol.DeployResult) (protocol.DeployResult, error) {
	app := s.App()
	s.release.Event(protocol.Event{
		Metadata: app.Metadata, Stage: capability.StageDeploy, Target: s.target, Phase: protocol.PhaseStep,
		Message: "a check failed: going back to the release before",
	})
	var specs []protocol.Spec
	for _, result := range clusters {
		specs = append(specs, result)
	}
	specs = append(specs, record.Of(app.Name, s.target, protocol.KindSmokeReport)...)
	// The app's last document is the one that it waits for.
	specs = append([]protocol.Spec{app}, append(specs, deployed)...)
	p, err := s.ask(ctx, capability.StageDeploy, []string{protocol.CommandTakeBack, "--target", s.target}, specs)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	result, err := process.Await[protocol.DeployResult](ctx, p, app.Name)
	if err == nil && result.Outcome == protocol.OutcomeFailed {
		err = p.AwaitFailure(ctx, app.Name)
	}
	return result, errors.Join(err, p.Close())
}

// checkAgain runs the checks on what was brought back, and says how they ended.
// They tell nothing of this release: their report has the version of the other.
func (s checkedScore) checkAgain(ctx context.Context, record *capability.Record, back protocol.DeployResult) string {
	if back.RunningVersion == "" {
		return "; its version is not known, and the checks did not run again"
	}
	app := s.App()
	app.Version = back.RunningVersion
	back.Metadata = app.Metadata
	p, err := s.ask(ctx, capability.StageSmoke, s.release.flags(s.release.stages[capability.StageSmoke].info, capability.StageSmoke, s.target), []protocol.Spec{app, back})
	if err != nil {
		return ", and its checks could not run again: " + err.Error()
	}
	report, err := process.Await[protocol.SmokeReport](ctx, p, app.Name)
	if err == nil {
		record.Add(capability.StageSmoke, s.target, report)
	}
	if err == nil && !report.Passed {
		err = p.AwaitFailure(ctx, app.Name)
	}
	err = errors.Join(err, p.Close())
	switch {
	case ctx.Err() != nil:
		return "; interrupted while its checks ran again"
	case err == nil:
		return ", which passes the checks"
	case protocol.ExitCode(err) == protocol.ExitSmoke:
		return ", which does not pass the checks either: " + err.Error()
	}
	return ", and its checks could not run again: " + err.Error()
}

// ask starts a stage for one app and gives it all of its documents.
func (s checkedScore) ask(ctx context.Context, stage string, flags []string, specs []protocol.Spec) (*process.Process, error) {
	plugin := s.release.stages[stage]
	p, err := process.Start(ctx, process.Plugin{Path: plugin.Path, Flags: flags, Registry: true}, s.release.observer(stage, s.target))
	if err != nil {
		return nil, err
	}
	if err = p.Send(s.release.Topology); err == nil {
		err = p.Send(specs...)
	}
	if err = errors.Join(err, p.EndInput()); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// staysFor says why a target whose checks failed is left as it is; "" when it goes
// back to what ran before the deploy.
func (r Release) staysFor(target string, deployed protocol.DeployResult, clusters []protocol.DeployResult) string {
	policy := cmp.Or(r.OnSmokeFailure, r.Topology.Targets[target].OnSmokeFailure, protocol.SmokeRollback)
	plugin := r.stages[capability.StageDeploy]
	switch {
	case policy == protocol.SmokeHalt && r.OnSmokeFailure != "":
		return "this release was told not to roll back"
	case policy == protocol.SmokeHalt:
		return "onSmokeFailure is " + protocol.SmokeHalt
	case deployed.Outcome == "":
		return "this release did not deploy to it"
	case !slices.Contains(plugin.info.Commands, protocol.CommandTakeBack):
		return fmt.Sprintf("%s has no command %s", plugin.Path, protocol.CommandTakeBack)
	}
	if deployed.Clusters == nil {
		clusters = []protocol.DeployResult{deployed}
	}
	return staysAs(clusters)
}

// staysAs says why a deploy with these results, of a target or of its clusters,
// cannot be gone back from; "" when it can.
func staysAs(results []protocol.DeployResult) string {
	changed, installed := false, false
	for _, d := range results {
		switch first, same := isFirst(d), isSame(d); {
		case same:
		case first:
			installed = true
		case strings.HasPrefix(d.Irreversible, "migration "):
			return "the release before cannot come back: " + d.Irreversible + " is irreversible"
		case d.Irreversible != "":
			return "the release before cannot come back: " + protocol.Irreversible + " on " + d.Irreversible
		case d.Adopted != "":
			return "what ran before was not harmony's, but of " + d.Adopted
		case d.PreviousChart == "":
			return "what ran before is not known"
		default:
			changed = true
		}
	}
	switch {
	case changed:
		return ""
	case installed:
		return "it is the first release there, and there is nothing to go back to"
	}
	return "an earlier run brought it there, and this one changed nothing"
}

func isFirst(d protocol.DeployResult) bool {
	return d.Outcome == protocol.OutcomeInstalled || d.Published != nil && d.PreviousChart == ""
}

func isSame(d protocol.DeployResult) bool {
	return d.Outcome == protocol.OutcomeUnchanged || d.Outcome == protocol.OutcomeSkipped || d.Published != nil && d.Published.Unchanged
}

// interruptedBack is an interruption that left a target between two releases.
type interruptedBack struct{ error }

func (e interruptedBack) Unwrap() error { return e.error }

// byCluster holds what deploys told of the clusters of their targets.
type byCluster struct {
	mu      sync.Mutex
	results []protocol.DeployResult
}

func (b *byCluster) add(result protocol.DeployResult) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.results = append(b.results, result)
}

// of lists the last result of each cluster.
func (b *byCluster) of(app, target string) []protocol.DeployResult {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []protocol.DeployResult
	for _, result := range b.results {
		if result.Name != app || result.Target != target {
			continue
		}
		list = slices.DeleteFunc(list, func(o protocol.DeployResult) bool { return o.Cluster == result.Cluster })
		list = append(list, result)
	}
	return list
}
