package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Pipeline is an order of steps that replaces the built-in one, for every app
// and topology of a project.
type Pipeline struct {
	// Metadata is the envelope's: app and version, or a name of its own.
	Metadata `json:"-"`
	// Pipeline lists the steps. Each waits for the one before.
	Pipeline []PipelineStep `json:"pipeline"`
}

// DocumentKind implements [Spec].
func (Pipeline) DocumentKind() Kind { return KindPipeline }

// The names of the steps that are built in. Any other is a stage that a plugin
// offers.
const (
	StepRelease = "release"
	StepMigrate = "migrate"
	StepDeploy  = "deploy"
	StepSmoke   = "smoke"
)

// PipelineStep is one step: the name of a stage, such as smoke, or that and a
// target, such as {deploy: staging}.
type PipelineStep struct {
	// Stage is release, migrate, deploy, smoke, or the stage of a plugin.
	Stage string `json:"-"`
	// Target is where; that of the deploy before it when empty.
	Target string `json:"-"`
}

// String is the step as people write it: deploy staging.
func (s PipelineStep) String() string {
	if s.Target == "" {
		return s.Stage
	}
	return s.Stage + " " + s.Target
}

// MarshalJSON implements json.Marshaler.
func (s PipelineStep) MarshalJSON() ([]byte, error) {
	if s.Target == "" {
		return json.Marshal(s.Stage)
	}
	return json.Marshal(map[string]string{s.Stage: s.Target})
}

// noStep begins the Stage of what is not a step.
const noStep = "no step: "

// UnmarshalJSON implements json.Unmarshaler. What is not a step is kept for
// Validate, which tells its place.
func (s *PipelineStep) UnmarshalJSON(text []byte) error {
	*s = PipelineStep{}
	if text[0] == '"' {
		return json.Unmarshal(text, &s.Stage)
	}
	var targets map[string]string
	if json.Unmarshal(text, &targets) == nil && len(targets) == 1 {
		for s.Stage, s.Target = range targets {
			if s.Stage != "" && s.Target != "" {
				return nil
			}
		}
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return err
	}
	*s = PipelineStep{Stage: noStep + compact.String()}
	return nil
}

// Validate returns all problems at once, as [FieldErrors], or nil. Whether
// there is such a target or such a stage is for the topology and for PATH to say.
func (l Pipeline) Validate() error {
	var p problems
	p.name("metadata.name", "a pipeline's", l.Name)
	p.must(len(l.Pipeline) > 0, "spec.pipeline", "needs a step, for example [release, {deploy: staging}, smoke]")
	for i, step := range l.Pipeline {
		l.validateStep(&p, fmt.Sprintf("spec.pipeline[%d]", i), i, step)
	}
	return p.err()
}

// has reports a step of a stage, with that target unless it is empty.
func has(steps []PipelineStep, stage, target string) bool {
	return slices.ContainsFunc(steps, func(s PipelineStep) bool {
		return s.Stage == stage && (target == "" || s.Target == target)
	})
}

func (l Pipeline) validateStep(p *problems, field string, i int, step PipelineStep) {
	has := func(stage, target string) bool { return has(l.Pipeline[:i], stage, target) }
	switch {
	case strings.HasPrefix(step.Stage, noStep):
		p.add(field, "%s is not a step: the name of a stage, or {stage: target}", strings.TrimPrefix(step.Stage, noStep))
	case !labelPattern.MatchString(step.Stage):
		p.add(field, "%q is not a stage's name: lower-case letters, digits and dashes", step.Stage)
	case step.Stage == "build" || step.Stage == "publish":
		p.add(field, "%s is a part of the step release", step.Stage)
	case step.Target != "" && !ValidName(step.Target):
		p.add(field, "%q is not a target's name: lower-case letters, digits and dashes, at most 53", step.Target)
	case step.Stage == StepRelease && step.Target != "":
		p.add(field, "release goes to no target")
	case step.Stage == StepRelease && has(StepRelease, ""):
		p.add(field, "release is there twice")
	case step.Stage == StepMigrate:
		l.validateMigrate(p, field, i)
	case step.Stage == StepDeploy && step.Target == "":
		p.add(field, "needs a target: {deploy: staging}")
	case step.Stage == StepDeploy && !has(StepRelease, ""):
		p.add(field, "there is nothing to deploy yet: release comes first")
	case step.Stage == StepDeploy && has(StepDeploy, step.Target):
		p.add(field, "%s is deployed to in an earlier step as well", step.Target)
	case step.Stage == StepSmoke && !has(StepDeploy, ""):
		p.add(field, "there is nothing to check yet: a deploy comes first")
	case step.Stage != StepDeploy && step.Target != "" && !has(StepDeploy, step.Target):
		p.add(field, "no earlier step deploys to %s", step.Target)
	}
}

// validateMigrate checks a step that runs migrations: they have the image of a release
// before it, and are there for a deploy after it.
func (l Pipeline) validateMigrate(p *problems, field string, i int) {
	target, before, after := l.Pipeline[i].Target, l.Pipeline[:i], l.Pipeline[i+1:]
	switch {
	case target == "":
		p.add(field, "needs a target: {migrate: staging}")
	case !has(before, StepRelease, ""):
		p.add(field, "there is no new image yet: release comes first")
	case has(before, StepDeploy, target):
		p.add(field, "%s is deployed to in an earlier step: migrations run before the deploy", target)
	case has(before, StepMigrate, target):
		p.add(field, "the migrations run on %s in an earlier step as well", target)
	case !has(after, StepDeploy, target):
		p.add(field, "no later step deploys to %s", target)
	}
}

// Unmigrated are the indices of the steps that deploy to a target without a step before
// them that runs the migrations there.
func (l Pipeline) Unmigrated() []int {
	var list []int
	for i, step := range l.Pipeline {
		if step.Stage == StepDeploy && !has(l.Pipeline[:i], StepMigrate, step.Target) {
			list = append(list, i)
		}
	}
	return list
}
