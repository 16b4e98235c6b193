package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/internal/discovery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Release is one run of the pipeline.
type Release struct {
	Topology protocol.Topology
	// Apps have their versions.
	Apps []protocol.AppSpec
	// Targets to deploy to, in order.
	Targets []string
	// DryRun changes nothing: the results are what would be done.
	DryRun bool
	// Flags are further flags of a stage's command line, by the stage's name.
	Flags map[string][]string

	Finder    discovery.Finder
	Describer discovery.Describer

	// Event, Line, Result and Failed take progress, lines of a stage's stderr,
	// results and failures; none is nil. They are called by several goroutines.
	Event  func(protocol.Event)
	Line   func(stage, line string)
	Result func(s protocol.Spec, stage, target string)
	Failed func(protocol.Failure)
}

// Run carries out the release and returns its exit status. What is wrong before
// anything is started is an error.
func (r Release) Run(ctx context.Context) (int, error) {
	apps, err := capability.Order(r.Apps)
	if err != nil {
		return 0, err
	}
	r.Apps = apps
	plugins, err := r.plugins(ctx)
	if err != nil {
		return 0, err
	}
	stages, err := r.start(ctx, plugins)
	if err != nil {
		return 0, err
	}
	out := &outcome{failed: map[string]int{}, onFailed: r.Failed}
	steps, err := r.steps(stages)
	if err == nil {
		runSteps(ctx, steps, &capability.Record{Observe: r.observer()}, out)
	}
	err = errors.Join(err, stages.close())
	if ctx.Err() != nil {
		return protocol.ExitInterrupted, nil
	}
	code := out.worst()
	if code != protocol.ExitOK {
		return code, nil // a stage that died has been told as a failure of its apps
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
			return nil, protocol.Unsupported("topology %q has no target %q (has %s)", t.Name, name, known)
		}
		if slices.Contains(asked[:i], name) {
			return nil, protocol.Invalid("target %q is named twice", name)
		}
	}
	return asked, nil
}

// observer hands a result on with the stage that it came from. Of an app's two
// images the first is that of build.
func (r Release) observer() func(protocol.Spec) {
	var mu sync.Mutex
	built := map[string]bool{}
	return func(s protocol.Spec) {
		if image, ok := s.(protocol.ImageRef); ok {
			mu.Lock()
			first := !built[image.Name]
			built[image.Name] = true
			mu.Unlock()
			if first {
				r.Result(s, capability.StageBuild, "")
				return
			}
		}
		r.observe(s)
	}
}

func (r Release) observe(s protocol.Spec) {
	switch d := s.(type) {
	case protocol.ImageRef:
		r.Result(s, capability.StagePublish, "")
	case protocol.ChartRef:
		r.Result(s, capability.StagePublish, "")
	case protocol.DeployResult:
		r.Result(s, capability.StageDeploy, d.Target)
	case protocol.SmokeReport:
		r.Result(s, capability.StageSmoke, d.Target)
	}
}

// stages are the running processes.
type stages struct {
	build, publish *process
	deploy, smoke  map[string]*process
}

func (s stages) all() []*process {
	list := []*process{s.build, s.publish}
	for target := range s.deploy {
		list = append(list, s.deploy[target], s.smoke[target])
	}
	return slices.DeleteFunc(list, func(p *process) bool { return p == nil })
}

// close ends the processes side by side.
func (s stages) close() error {
	list := s.all()
	errs := make([]error, len(list))
	var all sync.WaitGroup
	for i, p := range list {
		all.Go(func() {
			if err := p.close(); err != nil {
				errs[i] = fmt.Errorf("%s: %w", p.path, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// start starts every stage at once, one process for each step of the pipeline,
// and tells each the topology.
func (r Release) start(ctx context.Context, plugins map[string]discovery.Plugin) (stages, error) {
	started := stages{deploy: map[string]*process{}, smoke: map[string]*process{}}
	topology, err := protocol.Encode(r.Topology)
	if err != nil {
		return started, err
	}
	run := func(stage, target string) *process {
		if err != nil {
			return nil
		}
		var p *process
		p, err = startProcess(ctx, plugins[stage].Path, stage, target, r.flags(stage), observer{
			Event: r.Event,
			Line:  func(line string) { r.Line(strings.TrimSpace(stage+" "+target), line) },
		})
		if err == nil {
			// A stage that is gone already says why when it is asked for work.
			_ = p.send("", topology)
		}
		return p
	}
	started.build = run(capability.StageBuild, "")
	started.publish = run(capability.StagePublish, "")
	for _, target := range r.Targets {
		started.deploy[target] = run(capability.StageDeploy, target)
		started.smoke[target] = run(capability.StageSmoke, target)
	}
	if err != nil {
		return started, errors.Join(err, started.close())
	}
	return started, nil
}

func (r Release) flags(stage string) []string {
	if r.DryRun {
		return append([]string{"--dry-run"}, r.Flags[stage]...)
	}
	return r.Flags[stage]
}

// steps composes the scores of the release.
func (r Release) steps(s stages) ([]step, error) {
	versions := make([]semver.Version, len(r.Apps))
	for i, app := range r.Apps {
		v, err := semver.StrictNewVersion(app.Version)
		if err != nil {
			return nil, protocol.Invalid("app %q: version %q: %w", app.Name, app.Version, err)
		}
		versions[i] = *v
	}
	compose := func(ordered bool, score func(protocol.AppSpec, semver.Version) capability.Score) step {
		one := step{ordered: ordered}
		for i, app := range r.Apps {
			one.scores = append(one.scores, score(app, versions[i]))
		}
		return one
	}
	deployed := &results{}
	list := []step{compose(false, func(app protocol.AppSpec, v semver.Version) capability.Score {
		return capability.NewReleaseScore(releaser{s.build, s.publish}, app, v)
	})}
	for _, target := range r.Targets {
		list = append(list,
			compose(true, func(app protocol.AppSpec, v semver.Version) capability.Score {
				return capability.NewDeployScore(delivery{s.deploy[target], deployed}, app, v, target)
			}),
			compose(false, func(app protocol.AppSpec, v semver.Version) capability.Score {
				return capability.NewSmokeScore(checker{s.smoke[target], deployed}, app, v, target)
			}))
	}
	return list, nil
}
