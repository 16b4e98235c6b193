package pipeline_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

func app(name string, dependsOn ...string) protocol.AppSpec {
	return protocol.AppSpec{Metadata: protocol.Metadata{Name: name}, Image: protocol.ImageSource{Ref: "app:1"}, DependsOn: dependsOn}
}

// Every result is told with the stage, and the target, that made it; the stages of
// two apps overlap.
func TestResultsTellTheirStage(t *testing.T) {
	r := newRun(t, app("a"), app("b"))
	t.Setenv("DO_build", "await b published-a") // b is built only once a is published
	t.Setenv("DO_publish", "note a published-a")
	if code := r.run(t, t.Context()); code != 0 {
		t.Errorf("exit status %d, failures %q", code, r.failed)
	}
	for _, name := range []string{"a", "b"} {
		want := []string{
			name + " ImageRef build", name + " ImageRef publish", name + " ChartRef publish", name + " DeployResult deploy staging", name + " SmokeReport smoke staging",
		}
		got := slices.DeleteFunc(slices.Clone(r.results), func(s string) bool { return !strings.HasPrefix(s, name+" ") })
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A stage that would wait for an image which never comes is refused before anything
// is started.
func TestAppWithoutImageNeedsTheFeature(t *testing.T) {
	whole := app("b")
	whole.Image = protocol.ImageSource{}
	r := newRun(t, app("a"), whole)
	_, err := r.release.Run(t.Context())
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(fmt.Sprint(err), `harmony-publish cannot publish app "b", which has no image`) {
		t.Errorf("%v", err)
	}
}

func TestFailures(t *testing.T) {
	for name, test := range map[string]struct {
		stage, do string
		code      int
		failed    []string
	}{
		"of one app":         {"deploy", "fail a 4", 4, []string{"a deploy staging 4: deploy says no", `b deploy staging 4: not started: it depends on "a", which failed`}},
		"one is worse":       {"build", "fail b 3", 3, []string{"b build  3: build says no"}},
		"it dies":            {"smoke", "die b", 1, []string{"b smoke staging 1: $BIN/harmony-smoke ended without a result"}},
		"it writes nonsense": {"smoke", "garble b", 1, []string{"b smoke staging 1: $BIN/harmony-smoke ended without a result: $BIN/harmony-smoke wrote unexpected output to stdout: "}},
		"in the first step":  {"publish", "fail a 2", 2, []string{"a publish  2: publish says no", `b deploy staging 2: not started: it depends on "a", which failed`}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRun(t, app("a"), app("b", "a"), app("c"))
			t.Setenv("DO_"+test.stage, test.do)
			if code := r.run(t, t.Context()); code != test.code {
				t.Errorf("exit status %d, want %d", code, test.code)
			}
			for i := range r.failed {
				r.failed[i] = strings.ReplaceAll(r.failed[i], r.release.Finder.Path, "$BIN")
			}
			slices.Sort(r.failed)
			for _, want := range test.failed {
				if !slices.ContainsFunc(r.failed, func(told string) bool { return strings.HasPrefix(told, want) }) {
					t.Errorf("failures %q, want %q among them", r.failed, want)
				}
			}
			if !slices.Contains(r.results, "c DeployResult deploy staging") {
				t.Errorf("a failure of one app stopped another: %q", r.results)
			}
		})
	}
}

// A plugin that does not know of several images stops the release of an app that has
// some, before anything is started.
func TestSeveralImagesNeedTheFeature(t *testing.T) {
	several := app("a")
	several.Images = map[string]protocol.AppImage{"worker": {}}
	r := newRun(t, several)
	_, err := r.release.Run(t.Context())
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "does not know spec.images") {
		t.Errorf("got %v", err)
	}
	for line := range strings.Lines(read(r.notes)) {
		if !strings.Contains(line, " describe ") {
			t.Errorf("it was started: %s", line)
		}
	}
}

// A kind of check that is not built in is looked for before anything is started, and only
// given to a stage that knows of such kinds.
func TestKindsOfChecksAreFound(t *testing.T) {
	checked := app("a")
	checked.Smoke = []protocol.SmokeCheck{{Name: "up", Other: map[string]map[string]any{"htpp": {}}}}
	r := newRun(t, checked)
	fails := func(want string) {
		t.Helper()
		_, err := r.release.Run(t.Context())
		if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	fails(`smoke check "up" is of kind htpp, and plugin harmony-smoke 1.0.0 runs no harmony-check-NAME`)
	t.Setenv("FEATURES", "checks")
	fails("app a: smoke check up: unknown kind of check htpp: it is not built in, and no executable harmony-check-htpp is on PATH")
	for line := range strings.Lines(read(r.notes)) {
		if !strings.Contains(line, " describe ") {
			t.Errorf("it was started: %s", line)
		}
	}
	if err := os.WriteFile(filepath.Join(r.release.Finder.Path, "harmony-check-htpp"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if code := r.run(t, t.Context()); code != 0 {
		t.Errorf("status %d: %q", code, r.failed)
	}
}

// The tests of a chart need a Helm release, which not every deliverer leaves.
func TestHelmTestNeedsARelease(t *testing.T) {
	checked := app("a")
	checked.Smoke = []protocol.SmokeCheck{{Name: "chart", HelmTest: &protocol.HelmTestCheck{}}}
	r := newRun(t, checked)
	r.release.Topology.ContinuousDelivery, r.release.Steps = &protocol.Provider{Adapter: "argocd"}, r.release.Steps[2:]
	_, err := r.release.Run(t.Context())
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(fmt.Sprint(err), `smoke check "chart": helmTest needs a Helm release, and Argo CD`) {
		t.Errorf("got %v", err)
	}
}

// Documents that wait to be taken are kept, however many there are.
func TestNoDocumentIsLost(t *testing.T) {
	r := newRun(t, app("a"), app("b", "a"))
	t.Setenv("DO_deploy", "flood a b")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if code := r.run(t, ctx); code != 0 || len(r.results) != 10 {
		t.Errorf("exit status %d, results %q, failures %q", code, r.results, r.failed)
	}
}

func TestLongLinesAreCut(t *testing.T) {
	r := newRun(t, app("a"))
	t.Setenv("DO_build", "noise a")
	if code := r.run(t, t.Context()); code != 0 || r.longest != 64<<10 {
		t.Errorf("exit status %d, longest line %d", code, r.longest)
	}
}

// A cancelled release ends with 130, and no stage stays.
func TestCancel(t *testing.T) {
	r := newRun(t, app("a"))
	t.Setenv("DO_deploy", "hang a")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for !strings.Contains(read(r.notes), "hangs") && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
	}()
	if code := r.run(t, ctx); code != protocol.ExitInterrupted {
		t.Errorf("exit status %d", code)
	}
	stages := 0
	for line := range strings.Lines(read(r.notes)) {
		_, number, _ := strings.Cut(strings.TrimSpace(line), "pid=")
		pid, err := strconv.Atoi(number)
		if err != nil || syscall.Kill(pid, 0) != syscall.ESRCH {
			t.Errorf("it still runs: %s", line)
		}
		stages++
	}
	if stages < 4 {
		t.Errorf("only %d stages were started", stages)
	}
}

// The registry's password is for those who work with images and charts.
func TestWhoGetsThePassword(t *testing.T) {
	t.Setenv("HARMONY_REGISTRY_PASSWORD", "hunter2")
	r := newRun(t, app("a"))
	r.release.Steps = append(r.release.Steps, protocol.PipelineStep{Stage: "notify", Target: "staging"})
	if code := r.run(t, t.Context()); code != 0 {
		t.Errorf("exit status %d: %q", code, r.failed)
	}
	seen := 0
	for line := range strings.Lines(read(r.notes)) {
		want := !strings.Contains(line, " describe ") && !strings.HasPrefix(line, "notify")
		if got := strings.Contains(line, "hunter2"); got != want {
			t.Errorf("has the password: %t: %s", got, line)
		}
		seen++
	}
	if seen != 10 {
		t.Errorf("%d stages were started or described, want 10", seen)
	}
}

func read(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(text)
}
