package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/config/localcluster"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/process"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// proofVersion is the version that is rendered and planned.
	proofVersion = "0.1.0"
	// planTime is how long a plan may take before the cluster counts as unreachable.
	planTime = 2 * time.Minute
	// proofTopology is built in, and needs no settings.
	proofTopology = "local"
)

// proveInit proves the harmony.yaml that was written, and says what comes next.
func proveInit(cmd *cobra.Command, file string, names []string) error {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "wrote %s with %s\n", config.FileName, strings.Join(names, ", "))
	project, err := config.Load(file)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(project.Apps, ofOthers) {
		// Nothing of them is known before they are pinned.
		fmt.Fprintf(out, "next: harmony lock, and then: harmony plan%s\n", argument(names))
		return nil
	}
	rendered := renderAll(cmd.Context(), project)
	if rendered != nil && protocol.ExitCode(rendered) != protocol.ExitUnsupported {
		return incomplete(rendered, names)
	}
	if rendered == nil {
		fmt.Fprintln(out, "its charts render, and use the images")
	}
	proven, err := planAll(cmd.Context(), file)
	switch {
	case err != nil:
		return incomplete(err, names)
	case proven == "":
		fmt.Fprintln(out, "a release can be planned on the current kube context")
		fmt.Fprintf(out, "next: harmony release%s\n", argument(names))
	case rendered != nil:
		return fmt.Errorf("%s was not proven: %w", config.FileName, rendered)
	default:
		fmt.Fprintf(out, "not planned: %s\n", term.OneLine(proven))
		fmt.Fprintf(out, "next: harmony plan%s\n", argument(names))
	}
	return nil
}

// ofOthers reports an app whose chart others publish.
func ofOthers(app protocol.AppSpec) bool { return app.Chart.URL != "" }

// argument is what selects all apps on the command line.
func argument(names []string) string {
	if len(names) == 1 {
		return " " + names[0]
	}
	return " --all"
}

// incomplete is the error for a harmony.yaml that loads, but cannot be released yet.
func incomplete(err error, names []string) error {
	wrong := &protocol.Error{Code: protocol.ExitCode(err), Message: config.FileName + " was written, but a release cannot be planned", Err: err, Hint: protocol.HintOf(err)}
	switch {
	case wrong.Hint != "":
	case wrong.Code == protocol.ExitInvalid:
		wrong.Hint = fmt.Sprintf("edit %s, then: harmony plan%s", config.FileName, argument(names))
	default:
		wrong.Hint = "try again: harmony plan" + argument(names)
	}
	return wrong
}

// renderAll has harmony-chart render the chart of every app. The error is of status
// protocol.ExitUnsupported when there is no harmony-chart.
func renderAll(ctx context.Context, project *config.Project) error {
	finder, err := finderFor(project)
	if err != nil {
		return err
	}
	plugin, err := finder.Find("chart")
	if err != nil {
		return protocol.Unsupported("%w", err)
	}
	charts, err := startCharts(ctx, project, plugin)
	if err != nil {
		return err
	}
	var errs []error
	for _, app := range project.Apps {
		app.Version = proofVersion
		err := charts.Send(app, plannedImage(app))
		if err == nil {
			_, err = process.Await[protocol.ChartRef](ctx, charts, app.Name)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	closed := charts.Close()
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return closed
}

// plannedImage are the app's images as they will be published.
func plannedImage(app protocol.AppSpec) protocol.ImageRef {
	image := protocol.ImageRef{Metadata: app.Metadata, Registry: "registry.example.com", Repository: app.Repository(), Tag: proofVersion, Planned: true}
	for _, name := range app.ImageNames() {
		if image.Images == nil {
			image.Images = map[string]protocol.ImageRef{}
		}
		image.Images[name] = plannedImage(app.ForImage(name))
	}
	return image
}

// startCharts starts harmony-chart for a dry run without a registry.
func startCharts(ctx context.Context, project *config.Project, plugin discovery.Plugin) (*process.Process, error) {
	topology, err := project.Topology(proofTopology, os.Getenv)
	if err != nil {
		return nil, err
	}
	ignore := func(protocol.Event) {}
	charts, err := process.Start(ctx, process.Plugin{Path: plugin.Path, Flags: []string{"--dry-run"}}, process.Observer{Event: ignore, Line: func(string) {}})
	if err != nil {
		return nil, err
	}
	if err := charts.Send(topology); err != nil {
		return nil, errors.Join(err, charts.Close())
	}
	return charts, nil
}

// planAll plans a release of all apps. It returns why that is not possible here, as
// without a cluster; an error says that the plan failed.
func planAll(ctx context.Context, file string) (impossible string, err error) {
	current, err := localcluster.CurrentContext(os.Getenv)
	if err != nil {
		return err.Error(), nil
	}
	if current == "" {
		return "there is no current kube context", nil
	}
	f := &releaseFlags{output: "json"}
	f.register(&cobra.Command{})
	f.source.File, f.source.Topology, f.source.Version, f.all = file, proofTopology, proofVersion, true
	release, err := f.prepare(ctx, nil)
	if err != nil {
		return err.Error(), nil
	}
	console := term.New(term.Options{Err: os.Stderr, Getenv: os.Getenv, Quiet: true})
	defer console.Close()
	limited, cancel := context.WithTimeout(ctx, planTime)
	defer cancel()
	plan, code, err := planOfRelease(limited, release, console, func(protocol.Failure) {})
	switch {
	case err != nil:
		return "", err
	case ctx.Err() != nil:
		return "", &protocol.Error{Code: protocol.ExitInterrupted, Message: "interrupted"}
	case limited.Err() != nil:
		return fmt.Sprintf("the plan took over %s", planTime), nil
	case code == protocol.ExitOK:
		return "", nil
	}
	return judge(plan, code)
}

// judge tells failures of the project from those of the machine, such as a cluster or a
// registry that does not answer.
func judge(plan planOf, code int) (impossible string, err error) {
	var first *protocol.Failure
	for _, failure := range plan.Failures {
		if first == nil || failure.Code == protocol.ExitFailed || failure.Code == protocol.ExitInvalid {
			first = &failure
		}
	}
	switch {
	case first == nil:
		return "", &protocol.Error{Code: code, Message: "the plan failed"}
	case first.Code == protocol.ExitRetryable || first.Code == protocol.ExitUnsupported:
		return first.Message, nil
	}
	return "", &protocol.Error{Code: first.Code, Message: fmt.Sprintf("%s of %s: %s", first.Stage, first.Name, first.Message), Hint: first.Hint}
}
