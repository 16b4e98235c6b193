package pipeline

import (
	"slices"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Steps are those of a release, each with its target, and the targets that they
// deploy to, in order. p is nil for the built-in pipeline; asked limits the
// targets, and is empty for all of the pipeline's.
func Steps(p *protocol.Pipeline, t protocol.Topology, asked []string) (steps []protocol.PipelineStep, targets []string, err error) {
	if p != nil {
		return ownSteps(*p, t, asked)
	}
	if targets, err = Targets(t, asked); err != nil {
		return nil, nil, err
	}
	steps = []protocol.PipelineStep{{Stage: protocol.StepRelease}}
	for _, target := range targets {
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
