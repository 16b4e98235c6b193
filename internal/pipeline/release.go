package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/process"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Release is one run of the pipeline.
type Release struct {
	Topology protocol.Topology
	// Apps have their versions.
	Apps []protocol.AppSpec
	// Steps in order, each with its target; see [Steps].
	Steps []protocol.PipelineStep
	// Targets that are deployed to, in order.
	Targets []string
	// DryRun changes nothing: the results are what would be done.
	DryRun bool
	// Flags are further flags of a stage's command line, by the stage's name.
	Flags map[string][]string
	// Adopt has the deploys take over what others made, as --adopt of that stage does;
	// empty does not.
	Adopt string
	// OnSmokeFailure wins over that of the targets: one of the protocol.Smoke words, or
	// empty.
	OnSmokeFailure string
	// Explain passes --explain to the stages that have it.
	Explain bool

	Finder    discovery.Finder
	Describer discovery.Describer

	// Event, Line, Result and Failed take progress, lines of a stage's stderr,
	// results and failures; none is nil. They are called by several goroutines.
	Event  func(protocol.Event)
	Line   func(stage, line string)
	Result func(s protocol.Spec, stage, target string)
	Failed func(protocol.Failure)

	stages   map[string]stagePlugin
	clusters *byCluster
}

// Run carries out the release and returns its exit status. What is wrong before
// anything is started is an error.
func (r Release) Run(ctx context.Context) (int, error) {
	apps, err := capability.Order(r.Apps)
	if err != nil {
		return 0, err
	}
	r.Apps = apps
	r.Steps = slices.DeleteFunc(slices.Clone(r.Steps), r.idle)
	plugins, err := r.plugins(ctx)
	if err != nil {
		return 0, err
	}
	r.stages, r.clusters = plugins, &byCluster{}
	running, err := r.start(ctx, plugins)
	if err != nil {
		return 0, err
	}
	out := &outcome{failed: map[string]int{}, paused: map[string]bool{}, onFailed: r.Failed}
	record := &capability.Record{Observe: func(m capability.Made) { r.Result(m.Document, m.Stage, m.Target) }}
	steps, err := r.compose(running, record)
	for _, s := range steps {
		s.run(ctx, record, out)
	}
	err = errors.Join(err, closeAll(running))
	if ctx.Err() != nil {
		return protocol.ExitInterrupted, nil
	}
	code := out.worst()
	if code != protocol.ExitOK {
		return code, nil // a stage that died was reported as a failure of its apps
	}
	return code, err
}

// Targets are those that a release goes to, in order: the ones asked for, else
// staging and then production, as far as the topology has them.
func Targets(t protocol.Topology, asked []string) ([]string, error) {
	known := strings.Join(inOrder(t.Targets), ", ")
	if len(asked) == 0 {
		for _, name := range []string{"staging", "production"} {
			if _, ok := t.Targets[name]; ok {
				asked = append(asked, name)
			}
		}
		if len(asked) == 0 {
			return nil, protocol.Unsupported("topology %q has neither a staging nor a production target", t.Name).
				WithHint("name the targets with --target; it has: %s", known)
		}
	}
	for i, name := range asked {
		if _, ok := t.Targets[name]; !ok {
			return nil, noTarget(t, name)
		}
		if slices.Contains(asked[:i], name) {
			return nil, protocol.Invalid("target %q is named twice", name)
		}
	}
	return asked, nil
}

// running is a step with its processes: build and publish of the step release,
// else one.
type running struct {
	protocol.PipelineStep
	processes []*process.Process
	info      protocol.PluginInfo // of the last one
}

func closeAll(steps []running) error {
	var list []*process.Process
	for _, s := range steps {
		list = append(list, s.processes...)
	}
	errs := make([]error, len(list))
	var all sync.WaitGroup
	for i, p := range list {
		all.Go(func() {
			if err := p.Close(); err != nil {
				errs[i] = fmt.Errorf("%s: %w", p.Path(), err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// start starts every stage at once, one process for each step of the pipeline.
func (r Release) start(ctx context.Context, plugins map[string]stagePlugin) ([]running, error) {
	var started []running
	for _, step := range r.Steps {
		now := running{PipelineStep: step}
		for _, n := range needsOf(step.Stage) {
			p, err := r.startStage(ctx, plugins[n.stage], n.stage, step)
			if err == nil {
				now.processes = append(now.processes, p)
				err = r.introduce(p, n.stage, step)
			}
			if err != nil {
				return nil, errors.Join(err, closeAll(append(started, now)))
			}
			now.info = plugins[n.stage].info
		}
		started = append(started, now)
	}
	return started, nil
}

// introduced are the stages that get all apps at the start: they get ready
// while others work, and start nothing before they have the other documents that
// they need. Smoke needs no others, so it must not get an app that is not deployed.
func introduced(stage string) bool {
	return stage == capability.StagePublish || stage == capability.StageDeploy
}

// introduce sends a stage the topology and, where it gets them early, the apps.
func (r Release) introduce(p *process.Process, stage string, step protocol.PipelineStep) error {
	if err := p.Send(r.Topology); err != nil || !introduced(stage) {
		return err
	}
	for _, app := range r.Apps {
		if stage == capability.StagePublish && app.Image.IsNone() {
			continue // its chart would be published at once: see releaser.PushChart
		}
		if step.Stage == protocol.StepMigrate && !withMigrations(app) {
			continue
		}
		if err := p.Send(app); err != nil {
			return err
		}
	}
	return nil
}

func (r Release) startStage(ctx context.Context, plugin stagePlugin, stage string, step protocol.PipelineStep) (*process.Process, error) {
	flags := r.flags(plugin.info, stage, step.Target)
	if step.Stage == protocol.StepMigrate {
		stage, flags = capability.StageMigrate, append([]string{protocol.CommandMigrate}, flags...)
	}
	return process.Start(ctx, process.Plugin{Path: plugin.Path, Flags: flags, Registry: needsRegistry(plugin.info)}, r.observer(stage, step.Target))
}

// observer takes what a stage tells beside its results.
func (r Release) observer(stage, target string) process.Observer {
	return process.Observer{
		Event: r.Event,
		Line:  func(line string) { r.Line(strings.TrimSpace(stage+" "+target), line) },
		Cluster: func(result protocol.DeployResult) {
			r.clusters.add(result)
			r.Result(result, capability.StageDeploy, target)
		},
	}
}

// needsRegistry reports whether a stage gets the credentials of the registry:
// those of the built-in pipeline do, and those that are given images or charts.
func needsRegistry(info protocol.PluginInfo) bool {
	return slices.Contains([]string{capability.StageBuild, capability.StagePublish, capability.StageDeploy, capability.StageSmoke}, info.Stage) ||
		slices.Contains(info.Consumes, protocol.KindImageRef) || slices.Contains(info.Consumes, protocol.KindChartRef)
}

func (r Release) flags(info protocol.PluginInfo, stage, target string) []string {
	flags := slices.Clone(r.Flags[stage])
	if r.Explain && hasFlag(info, "explain") {
		flags = append(flags, "--explain")
	}
	if r.Adopt != "" && stage == capability.StageDeploy {
		flags = append(flags, "--adopt="+r.Adopt)
	}
	if r.DryRun {
		flags = append(flags, "--dry-run")
	}
	if target != "" {
		flags = append(flags, "--target", target)
	}
	return flags
}

func (r Release) compose(steps []running, record *capability.Record) ([]step, error) {
	versions := make([]semver.Version, len(r.Apps))
	for i, app := range r.Apps {
		v, err := semver.StrictNewVersion(app.Version)
		if err != nil {
			return nil, protocol.Invalid("app %q: version %q: %w", app.Name, app.Version, err)
		}
		versions[i] = *v
	}
	var list []step
	for _, s := range steps {
		one := step{stage: needsOf(s.Stage)[0].stage, target: s.Target, ordered: s.Stage == protocol.StepDeploy || s.Stage == protocol.StepMigrate}
		if s.Stage == protocol.StepMigrate {
			one.stage = capability.StageMigrate
		}
		score := r.scores(s, record, &one)
		for i, app := range r.Apps {
			if s.Stage != protocol.StepMigrate || withMigrations(app) {
				one.scores = append(one.scores, score(app, versions[i]))
			}
		}
		list = append(list, one)
	}
	return list, nil
}

// scores makes the scores of one step, and sets up the step for them.
func (r Release) scores(s running, record *capability.Record, one *step) func(protocol.AppSpec, semver.Version) capability.Score {
	first := s.processes[0]
	switch s.Stage {
	case protocol.StepRelease:
		return func(app protocol.AppSpec, v semver.Version) capability.Score {
			return capability.NewReleaseScore(releaser{first, s.processes[1]}, app, v)
		}
	case protocol.StepMigrate:
		return func(app protocol.AppSpec, v semver.Version) capability.Score {
			return capability.NewMigrationScore(migrator{first}, app, v, s.Target)
		}
	case protocol.StepDeploy:
		return func(app protocol.AppSpec, v semver.Version) capability.Score {
			return deployScore{capability.NewDeployScore(delivery{first, record}, app, v, s.Target), s.Target}
		}
	case protocol.StepSmoke:
		return func(app protocol.AppSpec, v semver.Version) capability.Score {
			return checkedScore{capability.NewSmokeScore(checker{first, record}, app, v, s.Target), r, s.Target}
		}
	}
	all := newIntake(first, r.Apps)
	one.left = all.done
	score := stageScore{step: s.PipelineStep, info: s.info, process: first, intake: all, stands: r.standsFor(s.info)}
	return func(app protocol.AppSpec, _ semver.Version) capability.Score {
		score.app = app
		return score
	}
}

// standsFor is the first capability of the topology that a plugin has adapters
// for, or "".
func (r Release) standsFor(info protocol.PluginInfo) string {
	for _, p := range r.Topology.Provided() {
		if _, ok := info.Capabilities[p.Capability]; ok {
			return p.Capability
		}
	}
	return ""
}
