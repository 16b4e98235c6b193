package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/pipeline"
	"github.com/nationtech/harmony/pkg/protocol"
)

// planned is one step of a plan.
type planned struct {
	App        string `json:"app"`
	Version    string `json:"version"`
	Stage      string `json:"stage"`
	Target     string `json:"target,omitempty"`
	Capability string `json:"capability,omitempty"`
	Adapter    string `json:"adapter,omitempty"`
	// Change is false when there is nothing to do.
	Change bool   `json:"change"`
	Detail string `json:"detail"`
}

// planOf is the output of harmony plan -o json.
type planOf struct {
	Topology string             `json:"topology"`
	Targets  []string           `json:"targets"`
	Steps    []planned          `json:"steps"`
	Failures []protocol.Failure `json:"failures,omitempty"`
}

func (h *harmony) plan() *cobra.Command {
	f := &releaseFlags{}
	cmd := &cobra.Command{
		Use:   "plan [APP...]",
		Short: "Show what a release would do, and change nothing",
		Long: `Show what a release would do, step by step: the capability, the adapter that provides
it, and whether it would change anything. The command reads the registry and the clusters,
and changes nothing. With -o documents it only prints the topology and the apps, as the
stream for a stage.`,
		Example: `  harmony plan --all
  harmony plan fleet-operator --version 1.4.0 -o json`,
		RunE: func(cmd *cobra.Command, apps []string) error { return h.runPlan(cmd, f, apps) },
	}
	f.register(cmd)
	return cmd
}

func (h *harmony) runPlan(cmd *cobra.Command, f *releaseFlags, patterns []string) error {
	if f.output == "documents" {
		return f.documents(cmd, patterns)
	}
	release, err := f.prepare(cmd.Context(), patterns)
	if err != nil {
		return err
	}
	console := term.New(term.Options{Err: cmd.ErrOrStderr(), Getenv: os.Getenv, Quiet: f.quiet})
	defer console.Close()
	plan, code, err := planOfRelease(cmd.Context(), release, console, console.Failure)
	if h.code = code; err != nil {
		return err
	}
	if f.output == "json" {
		return term.WriteJSON(cmd.OutOrStdout(), plan)
	}
	return plan.table(cmd)
}

// planOfRelease runs a release dry, and returns what it would do with the exit status.
func planOfRelease(ctx context.Context, release pipeline.Release, console *term.Console, failed func(protocol.Failure)) (planOf, int, error) {
	release.DryRun = true
	var mu sync.Mutex
	plan := planOf{Topology: release.Topology.Name}
	release.Event = func(e protocol.Event) {
		if e.Phase == protocol.PhaseExplain {
			console.Event(e)
		}
	}
	release.Line = func(stage, line string) { console.Line("%s: %s", stage, term.Clean(line)) }
	release.Result = func(s protocol.Spec, stage, target string) {
		mu.Lock()
		defer mu.Unlock()
		step := describeStep(release.Topology, s, stage, target)
		if ref, ok := s.(protocol.ChartRef); ok {
			step.Detail += found(release.Apps, ref)
		}
		plan.Steps = append(plan.Steps, step)
	}
	release.Failed = func(failure protocol.Failure) {
		failed(failure)
		mu.Lock()
		defer mu.Unlock()
		plan.Failures = append(plan.Failures, failure)
	}
	code, err := release.Run(ctx)
	plan.Targets = release.Targets
	plan.sort(release.Apps)
	return plan, code, err
}

// documents prints the start of a stream: the topology and the apps.
func (f *releaseFlags) documents(cmd *cobra.Command, patterns []string) error {
	if f.all {
		patterns = []string{"*"}
	}
	f.source.Needs.Targets = f.targets
	topology, apps, err := f.source.Read(cmd.Context(), patterns)
	if err != nil {
		return err
	}
	out := protocol.NewWriter(cmd.OutOrStdout())
	err = out.WriteSpec(topology)
	for _, app := range apps {
		err = errors.Join(err, out.WriteSpec(app))
	}
	return err
}

// sort orders the steps app by app, each in the order of the release.
func (p *planOf) sort(apps []protocol.AppSpec) {
	place := map[string]int{}
	for i, app := range apps {
		place[app.Name] = i
	}
	slices.SortStableFunc(p.Steps, func(a, b planned) int { return place[a.App] - place[b.App] })
}

func (p planOf) table(cmd *cobra.Command) error {
	rows := [][]string{{"APP", "VERSION", "STEP", "CAPABILITY", "ADAPTER", "CHANGE", "DETAIL"}}
	for _, s := range p.Steps {
		step, change := s.Stage, "no"
		if s.Target != "" {
			step += " " + s.Target
		}
		if s.Change {
			change = "yes"
		}
		rows = append(rows, []string{s.App, s.Version, step, s.Capability, s.Adapter, change, s.Detail})
	}
	return term.Table(cmd.OutOrStdout(), rows)
}

// found says where the images go in a chart, if the app does not.
func found(apps []protocol.AppSpec, ref protocol.ChartRef) string {
	i := slices.IndexFunc(apps, func(app protocol.AppSpec) bool { return app.Name == ref.Name })
	if i < 0 || apps[i].Chart.Path == "" {
		return ""
	}
	text := ""
	tell := func(what string, said, found protocol.ImagePlaces) {
		if !slices.Equal(found, said) && !found.IsZero() {
			text += "; " + what + " goes to " + found.Places()
		}
	}
	tell("the image", apps[i].Chart.Image, ref.Image)
	for _, name := range apps[i].ImageNames() {
		tell("image "+name, apps[i].Images[name].Chart, ref.Images[name])
	}
	return text
}

func describeStep(t protocol.Topology, s protocol.Spec, stage, target string) planned {
	id := s.Identity()
	p := planned{App: id.Name, Version: id.Version, Stage: stage, Target: target, Detail: term.Describe(s)}
	p.Capability, p.Adapter = pipeline.Provider(t, s)
	switch d := s.(type) {
	case protocol.ImageRef:
		p.Change = !d.AllUnchanged()
	case protocol.ChartRef:
		p.Change = !d.Unchanged
	case protocol.MigrationReport:
		p.Change = !d.Unchanged
	case protocol.Result:
		p.Change = !d.Unchanged
	case protocol.DeployResult:
		p.Change = d.Outcome != protocol.OutcomeUnchanged && (d.Published == nil || !d.Published.Unchanged)
	}
	return p
}
