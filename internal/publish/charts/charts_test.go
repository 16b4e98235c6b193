package charts_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/internal/publish/charts"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/plugin/signals"
	"github.com/nationtech/harmony/pkg/protocol"
)

// TestMain is harmony-chart when it is called so.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "harmony-chart" {
		os.Exit(chart())
	}
	os.Exit(m.Run())
}

// chart answers with what its flags and the app's name ask for.
func chart() int {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	flags := &publish.Flags{}
	stage := plugin.Publish("1.0.0", nil, plugin.Adapters[capability.HelmRegistry]{
		"none": func(_ context.Context, env capability.Environment) (capability.HelmRegistry, error) {
			return answering{flags, env}, nil
		},
	})
	return command.Main(ctx, stage, command.Standard(), os.Args[1:], command.Flags(flags.BindCharts))
}

type answering struct {
	flags *publish.Flags
	env   capability.Environment
}

func (a answering) PushChart(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ChartRef, error) {
	a.env.Progress(protocol.Event{Metadata: app.Metadata, Phase: "push", Message: "at work"})
	switch app.Name {
	case "refused":
		return protocol.ChartRef{}, protocol.Invalid("Chart.yaml: line 3").WithHint("mend it")
	case "dies":
		os.Exit(7)
	case "hangs":
		<-ctx.Done()
		return protocol.ChartRef{}, ctx.Err()
	}
	return protocol.ChartRef{Metadata: app.Metadata, Chart: image.Digest, Planned: a.env.DryRun, Unchanged: a.flags.Overwrite}, nil
}

// open starts the process, whose events it returns.
func open(t *testing.T, ctx context.Context, flags publish.Flags, dry bool) (*charts.Stage, capability.HelmRegistry, chan protocol.Event) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "harmony-chart")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	events := make(chan protocol.Event, 100)
	none := &protocol.Provider{Adapter: "none"}
	stage := &charts.Stage{Flags: &flags}
	registry, err := stage.Open(ctx, capability.Environment{
		Topology: protocol.Topology{Metadata: protocol.Metadata{Name: "mine"}, HelmRegistry: none},
		Provider: *none, DryRun: dry, Progress: func(e protocol.Event) { events <- e },
	})
	if err != nil {
		t.Fatal(err)
	}
	return stage, registry, events
}

func push(ctx context.Context, registry capability.HelmRegistry, name string) (protocol.ChartRef, error) {
	id := protocol.Metadata{Name: name, Version: "1.0.0"}
	return registry.PushChart(ctx,
		protocol.AppSpec{
			Metadata: id, Image: protocol.ImageSource{Dockerfile: &protocol.Dockerfile{Path: "Dockerfile"}},
			Chart: protocol.ChartSource{Path: "chart", Image: protocol.ImagePlaces{{Value: "image"}}},
		},
		protocol.ImageRef{Metadata: id, Repository: name, Digest: "sha256:" + name, Location: protocol.InRegistry})
}

// One process makes the charts of several apps, with the flags of publish, and
// tells its progress.
func TestChartsAreMadeElsewhere(t *testing.T) {
	for _, dry := range []bool{false, true} {
		stage, registry, events := open(t, t.Context(), publish.Flags{Overwrite: !dry}, dry)
		for _, name := range []string{"a", "b"} {
			got, err := push(t.Context(), registry, name)
			if err != nil || got.Chart != "sha256:"+name || got.Planned != dry || got.Unchanged == dry {
				t.Errorf("dry %t: got %+v, %v", dry, got, err)
			}
		}
		if err := stage.Close(); err != nil {
			t.Error(err)
		}
		told := false
		for range len(events) {
			told = told || (<-events).Message == "at work"
		}
		if !told {
			t.Error("its progress was not told")
		}
	}
}

// A failure keeps its status and hint, and stops no other app; a process that is
// gone fails those that are left.
func TestChartsThatFail(t *testing.T) {
	stage, registry, _ := open(t, t.Context(), publish.Flags{}, false)
	_, err := push(t.Context(), registry, "refused")
	if protocol.ExitCode(err) != protocol.ExitInvalid || protocol.HintOf(err) != "mend it" || !strings.Contains(err.Error(), "Chart.yaml: line 3") {
		t.Errorf("got %v", err)
	}
	if _, err := push(t.Context(), registry, "a"); err != nil {
		t.Error(err)
	}
	for range 2 {
		if _, err := push(t.Context(), registry, "dies"); protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), "ended without a result") {
			t.Errorf("got %v", err)
		}
	}
	if err := stage.Close(); err != nil {
		t.Error(err)
	}
}

// A run that is cancelled ends the process.
func TestChartsThatAreCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	stage, registry, events := open(t, ctx, publish.Flags{}, false)
	go func() {
		for e := range events {
			if e.Message == "at work" {
				cancel()
			}
		}
	}()
	if _, err := push(ctx, registry, "hangs"); err == nil {
		t.Error("a chart without an end was made")
	}
	closed := make(chan error, 1)
	go func() { closed <- stage.Close() }()
	select {
	case err := <-closed:
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the process is still there")
	}
}

func TestNoCharts(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := (&charts.Stage{Flags: &publish.Flags{}}).Open(t.Context(), capability.Environment{})
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "harmony-chart, part of the suite, is missing") {
		t.Errorf("got %v", err)
	}
}
