package pipeline

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/plugins/process"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// releaser is the [capability.Releaser] of two stage processes. The second one
// knows the apps; see [introduced].
type releaser struct {
	build, publish *process.Process
}

func (r releaser) BuildImage(ctx context.Context, app protocol.AppSpec) (protocol.ImageRef, error) {
	if err := r.build.Send(app); err != nil {
		return protocol.ImageRef{}, err
	}
	return process.Await[protocol.ImageRef](ctx, r.build, app.Name)
}

func (r releaser) PushImage(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ImageRef, error) {
	if err := r.publish.Send(image); err != nil {
		return protocol.ImageRef{}, err
	}
	return process.Await[protocol.ImageRef](ctx, r.publish, app.Name)
}

// PushChart takes the second result of the publish stage, which makes the
// chart after the image by itself. An app without an image begins with it.
func (r releaser) PushChart(ctx context.Context, app protocol.AppSpec, _ protocol.ImageRef) (protocol.ChartRef, error) {
	if app.Image.IsNone() {
		if err := r.publish.Send(app); err != nil {
			return protocol.ChartRef{}, err
		}
	}
	return process.Await[protocol.ChartRef](ctx, r.publish, app.Name)
}

// delivery is continuous delivery to one target by a deploy process, which knows
// the apps.
type delivery struct {
	deploy *process.Process
	record *capability.Record
}

func (d delivery) Deploy(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	migrated := d.record.Of(app.Name, target, protocol.KindMigrationReport)
	if err := d.deploy.Send(append(migrated, released(app, image, chart)...)...); err != nil {
		return protocol.DeployResult{}, err
	}
	result, err := process.Await[protocol.DeployResult](ctx, d.deploy, app.Name)
	if err == nil && !result.Outcome.Delivered() && result.Outcome != protocol.OutcomePaused {
		err = d.deploy.AwaitFailure(ctx, app.Name) // why it was
	}
	return result, err
}

// errPaused is what a deployScore ends with when the rollout is paused.
var errPaused = errors.New("the rollout is paused")

// deployScore is a DeployScore that tells a deploy that is paused.
type deployScore struct {
	capability.Score
	target string
}

// Run implements [capability.Score].
func (s deployScore) Run(ctx context.Context, record *capability.Record) error {
	err := s.Score.Run(ctx, record)
	for _, made := range record.Of(s.App().Name, s.target, protocol.KindDeployResult) {
		if result, ok := made.(protocol.DeployResult); err == nil && ok && result.Outcome == protocol.OutcomePaused {
			err = errPaused
		}
	}
	return err
}

// released are the documents of a release for a process that knows the app.
func released(app protocol.AppSpec, image protocol.ImageRef, chart protocol.ChartRef) []protocol.Spec {
	if app.Image.IsNone() {
		return []protocol.Spec{chart}
	}
	return []protocol.Spec{image, chart}
}

// checker runs smoke checks on one target in a smoke process, which waits for
// the result of the deploy.
type checker struct {
	smoke  *process.Process
	record *capability.Record
}

func (c checker) Check(ctx context.Context, app protocol.AppSpec, target string) (protocol.SmokeReport, error) {
	deployed := c.record.Of(app.Name, target, protocol.KindDeployResult)
	if err := c.smoke.Send(append([]protocol.Spec{app}, deployed...)...); err != nil {
		return protocol.SmokeReport{}, err
	}
	report, err := process.Await[protocol.SmokeReport](ctx, c.smoke, app.Name)
	if err != nil || report.Passed || report.Planned {
		return report, err
	}
	err = c.smoke.AwaitFailure(ctx, app.Name)
	return report, err
}

// inOrder returns targets in the order of a release: staging first, production
// last, others by name between them.
func inOrder(targets map[string]protocol.Target) []string {
	rank := map[string]int{"staging": -1, "production": 1}
	return slices.SortedFunc(maps.Keys(targets), func(a, b string) int {
		return cmp.Or(rank[a]-rank[b], strings.Compare(a, b))
	})
}

// Steps are those of a release, each with its target, and the targets that they
// deploy to, in order. p is nil for the built-in pipeline; asked limits the
// targets, and is empty for all of the pipeline's. The built-in pipeline runs migrations
// where one of the apps has them.
func Steps(p *protocol.Pipeline, t protocol.Topology, asked []string, apps []protocol.AppSpec) (steps []protocol.PipelineStep, targets []string, err error) {
	if p != nil {
		return ownSteps(*p, t, asked)
	}
	if targets, err = Targets(t, asked); err != nil {
		return nil, nil, err
	}
	steps = []protocol.PipelineStep{{Stage: protocol.StepRelease}}
	for _, target := range targets {
		if slices.ContainsFunc(apps, withMigrations) {
			steps = append(steps, protocol.PipelineStep{Stage: protocol.StepMigrate, Target: target})
		}
		steps = append(steps, protocol.PipelineStep{Stage: protocol.StepDeploy, Target: target}, protocol.PipelineStep{Stage: protocol.StepSmoke, Target: target})
	}
	return steps, targets, nil
}

// ownSteps are those of a project's pipeline: a step without a target goes where
// the deploy before it went.
func ownSteps(p protocol.Pipeline, t protocol.Topology, asked []string) (steps []protocol.PipelineStep, targets []string, err error) {
	current := ""
	for _, step := range p.Pipeline {
		switch {
		case step.Stage == protocol.StepDeploy:
			current = step.Target
			targets = append(targets, current)
		case step.Stage != protocol.StepRelease && step.Target == "":
			step.Target = current
		}
		steps = append(steps, step)
	}
	if len(asked) > 0 {
		for _, name := range asked {
			if !slices.Contains(targets, name) {
				return nil, nil, protocol.Invalid("pipeline %q does not deploy to %q (it does to: %s)", p.Name, name, strings.Join(targets, ", "))
			}
		}
		other := func(target string) bool { return target != "" && !slices.Contains(asked, target) }
		steps = slices.DeleteFunc(steps, func(s protocol.PipelineStep) bool { return other(s.Target) })
		targets = slices.DeleteFunc(targets, other)
	}
	for _, name := range targets {
		if _, ok := t.Targets[name]; !ok {
			return nil, nil, noTarget(t, name)
		}
	}
	return steps, targets, nil
}

func noTarget(t protocol.Topology, name string) error {
	return protocol.Unsupported("topology %q has no target %q (has %s)", t.Name, name, strings.Join(inOrder(t.Targets), ", "))
}
