package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/internal/smoke"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/plugin/signals"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The test binary is also the four stage plugins, with adapters that do nothing
// but write down what they were asked: the dispatcher is tested over real
// processes and the real runtime.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"harmony": main,
		"harmony-build": func() {
			stageMain(plugin.Build("1.2.3", plugin.Adapters[capability.ContainerBuilder]{"auto": newFake[capability.ContainerBuilder], "daemonless": newFake[capability.ContainerBuilder]}))
		},
		"harmony-publish": func() {
			stageMain(plugin.Publish("1.2.3", plugin.Adapters[capability.OCIRegistry]{"oci": newFake[capability.OCIRegistry]},
				plugin.Adapters[capability.HelmRegistry]{"none": newFake[capability.HelmRegistry], "oci": newFake[capability.HelmRegistry]}),
				command.Flags(func(set *pflag.FlagSet) { set.Bool("explain", false, "") }))
		},
		"harmony-chart": func() {
			stage := plugin.Publish("1.2.3", nil, plugin.Adapters[capability.HelmRegistry]{"none": newFake[capability.HelmRegistry]})
			stage.Plugin = "chart"
			stageMain(stage)
		},
		"harmony-deploy": func() {
			adapters := plugin.Adapters[capability.ContinuousDelivery]{"helm": newFake[capability.ContinuousDelivery]}
			stageMain(plugin.Deploy("1.2.3", adapters), command.StageCommand(protocol.CommandTakeBack, plugin.TakeBack("1.2.3", adapters), project.Standard()),
				command.StageCommand(protocol.CommandMigrate, plugin.Migrate("1.2.3", adapters), project.Standard(), command.Flags(rollbackFlags)),
				command.Flags(rollbackFlags))
		},
		"harmony-smoke": func() {
			if os.Getenv("REAL_CHECKS") != "" {
				stageMain(plugin.Smoke("1.2.3", smoke.New(&conn.Flags{}, nil)))
			}
			stageMain(plugin.Smoke("1.2.3", newFake[capability.Checker]))
		},
		"harmony-monitor": func() {
			stageMain(plugin.Monitor("1.2.3", plugin.Adapters[capability.Monitoring]{"none": newFake[capability.Monitoring], "prometheus-operator": newFake[capability.Monitoring]}))
		},
	})
}

func TestScripts(t *testing.T) {
	params := scripts()
	params.Dir = "testdata"
	testscript.Run(t, params)
}

// scripts is how every script runs.
func scripts() testscript.Params {
	return testscript.Params{
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			for _, name := range []string{"CI", "GITHUB_ACTIONS", "GITHUB_REF_NAME", "GITHUB_REF_TYPE", "GITHUB_REF", "HARMONY_TOPOLOGY", "HARMONY_REGISTRY"} {
				env.Setenv(name, "")
			}
			env.Setenv("XDG_CACHE_HOME", env.WorkDir+"/.cache")
			env.Setenv("FAKE_LOG", env.WorkDir+"/log")
			return nil
		},
	}
}

func rollbackFlags(set *pflag.FlagSet) { set.Bool("rollback-on-failure", true, "") }

func stageMain(s plugin.Stage, options ...command.Option) {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	os.Exit(command.Main(ctx, s, project.Standard(), os.Args[1:], options...))
}

// fake is every adapter. FAKE_FAIL names the calls that fail, and how:
// "build:app=4 check:app:staging=5". FAKE_OUTCOME is that of deploys, and
// FAKE_IRREVERSIBLE what their charts say; FAKE_MIGRATED says that the migrations have run.
// 1.3.0 is what ran before.
type fake struct{ env capability.Environment }

func newFake[C any](_ context.Context, env capability.Environment) (C, error) {
	return any(fake{env}).(C), nil
}

// call writes a line to the log, and fails or hangs where it is told to.
func (f fake) call(ctx context.Context, words ...string) error {
	name := strings.Join(words, ":")
	log, err := os.OpenFile(os.Getenv("FAKE_LOG"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	line := name + "\n"
	if f.env.DryRun {
		line = "dry " + line
	}
	if _, err := log.WriteString(line); err != nil { // in one write, for others write too
		return err
	}
	f.env.Progress(protocol.Event{Metadata: protocol.Metadata{Name: words[1]}, Phase: words[0], Message: "working"})
	for _, entry := range strings.Fields(os.Getenv("FAKE_FAIL")) {
		call, code, _ := strings.Cut(entry, "=")
		if call != name {
			continue
		}
		if code == "hang" {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Minute):
			}
		}
		if code == "kill" {
			os.Exit(137)
		}
		failure := &protocol.Error{Message: "told to fail", Hint: "tell it otherwise"}
		fmt.Sscan(code, &failure.Code)
		return failure
	}
	return nil
}

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func (f fake) BuildImage(ctx context.Context, app protocol.AppSpec) (protocol.ImageRef, error) {
	return protocol.ImageRef{Metadata: app.Metadata, Repository: app.Name, Digest: digest, Location: protocol.InLayout, Planned: f.env.DryRun}, f.call(ctx, "build", app.Name)
}

func (f fake) PushImage(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ImageRef, error) {
	image.Location, image.Registry, image.Unchanged = protocol.InRegistry, "registry.example.com", true
	return image, f.call(ctx, "push", app.Name)
}

func (f fake) PushChart(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ChartRef, error) {
	places := app.Chart.Image
	if places.IsZero() {
		places = protocol.ImagePlaces{{Repository: "image.repository", Tag: "image.tag"}}
		if slices.Contains(os.Args, "--explain") {
			f.env.Progress(protocol.Event{Metadata: app.Metadata, Phase: protocol.PhaseExplain, Message: "it goes to " + places.String()})
		}
	}
	return protocol.ChartRef{Metadata: app.Metadata, Chart: app.Name, ChartVersion: app.Version, Digest: digest, Image: places, Planned: f.env.DryRun}, f.call(ctx, "chart", app.Name)
}

func (f fake) Deploy(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	result := protocol.DeployResult{Metadata: app.Metadata, Target: target, Adapter: "helm", Outcome: protocol.OutcomeInstalled, Image: image.Digest, Planned: f.env.DryRun}
	if outcome := os.Getenv("FAKE_OUTCOME"); outcome != "" {
		result.Outcome, result.Irreversible = protocol.Outcome(outcome), os.Getenv("FAKE_IRREVERSIBLE")
		result.PreviousImage, result.PreviousChart = "sha256:ba5eba11", "sha256:ba5e"
	}
	if in := f.env.Topology.Targets[target].InCluster; in != nil && in.IsPreview() {
		namespace, err := in.NamespaceOf(app.Name)
		if err != nil {
			return protocol.DeployResult{}, err
		}
		result.Namespace = namespace
	}
	return result, f.call(ctx, "deploy", app.Name, target)
}

func (f fake) Migrate(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, _ protocol.ChartRef) (protocol.MigrationReport, error) {
	err := f.call(ctx, "migrate", app.Name, target)
	var results []protocol.MigrationResult
	for _, m := range app.Migrations {
		result := protocol.MigrationResult{Name: m.Name, Status: protocol.MigrationDone, Image: image.Digest}
		switch {
		case err != nil:
			result.Status, result.Message = protocol.MigrationFailed, err.Error()
		case f.env.DryRun:
			result.Status = protocol.MigrationPlanned
		case os.Getenv("FAKE_MIGRATED") != "":
			result.Status = protocol.MigrationUnchanged
		}
		results = append(results, result)
	}
	return protocol.NewMigrationReport(app.Metadata, target, "helm", results, err), err
}

func (f fake) TakeBack(ctx context.Context, app protocol.AppSpec, target string, from capability.Setback, _ func(protocol.DeployResult)) (protocol.DeployResult, error) {
	return protocol.DeployResult{
		Metadata: app.Metadata, Target: target, Adapter: "helm", Outcome: protocol.OutcomeRolledBack,
		Image: from.Deployed.PreviousImage, Chart: from.Deployed.PreviousChart, RunningVersion: "1.3.0",
	}, f.call(ctx, "back", app.Name, target)
}

func (f fake) Check(ctx context.Context, app protocol.AppSpec, target string) (protocol.SmokeReport, error) {
	report := protocol.SmokeReport{Metadata: app.Metadata, Target: target, Planned: f.env.DryRun}
	words := []string{"check", app.Name, target}
	if app.Version == "1.3.0" {
		words = append(words, app.Version)
	}
	err := f.call(ctx, words...)
	check := protocol.CheckResult{Name: "ready", Type: "rollout", Status: protocol.CheckPassed}
	if err != nil {
		check.Status = protocol.CheckFailed
	}
	report.Passed, report.Checks = err == nil, []protocol.CheckResult{check}
	return report, err
}

func (f fake) Monitor(ctx context.Context, app protocol.AppSpec, target string) (protocol.MonitoringResult, error) {
	return protocol.MonitoringResult{
		Metadata: app.Metadata, Target: target, Adapter: f.env.Provider.Adapter, Objects: []protocol.MonitoringObject{},
		Summary: "watched by " + f.env.Provider.Adapter, Planned: f.env.DryRun,
	}, f.call(ctx, "monitor", app.Name, target)
}
