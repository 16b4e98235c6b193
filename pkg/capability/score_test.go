package capability_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// A program that releases on a topology without a Helm registry does not
// compile, nor does one that watches without Monitoring; one that has all does.
func TestReleaseOnIncompleteTopologyDoesNotCompile(t *testing.T) {
	build := func(name string) (string, error) {
		out, err := exec.Command("go", "build", "-o", os.DevNull, "./"+filepath.Join("testdata", name)).CombinedOutput()
		return string(out), err
	}
	if out, err := build("releases"); err != nil {
		t.Fatalf("the complete topology does not compile: %v\n%s", err, out)
	}
	for name, want := range map[string]string{
		"cannot":  "(type edge) does not satisfy capability.Releaser (missing method PushChart)",
		"unwatch": "(type edge) does not satisfy capability.Monitoring (missing method Monitor)",
	} {
		out, err := build(name)
		if err == nil {
			t.Fatalf("%s compiles", name)
		}
		if !strings.Contains(out, want) {
			t.Errorf("%s does not compile for another reason:\n%s", name, out)
		}
	}
}

// world is a topology that writes down what is asked of it.
type world struct {
	calls []string
	fail  string
}

func (w *world) call(name string) error {
	w.calls = append(w.calls, name)
	if name == w.fail {
		return errors.New(name + " failed")
	}
	return nil
}

func (w *world) BuildImage(_ context.Context, app protocol.AppSpec) (protocol.ImageRef, error) {
	return protocol.ImageRef{Metadata: app.Metadata, Repository: "built"}, w.call("build " + app.Version)
}

func (w *world) PushImage(_ context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ImageRef, error) {
	return protocol.ImageRef{Metadata: app.Metadata, Repository: "pushed"}, w.call("push " + image.Repository)
}

func (w *world) PushChart(_ context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ChartRef, error) {
	return protocol.ChartRef{Metadata: app.Metadata, Chart: "chart"}, w.call("chart of " + image.Repository)
}

func (w *world) Deploy(_ context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	return protocol.DeployResult{Metadata: app.Metadata, Target: target}, w.call("deploy " + image.Repository + " " + chart.Chart + " to " + target)
}

func (w *world) Check(_ context.Context, app protocol.AppSpec, target string) (protocol.SmokeReport, error) {
	err := w.call("check " + target)
	return protocol.SmokeReport{Metadata: app.Metadata, Passed: err == nil, Checks: []protocol.CheckResult{{Name: "ready"}}}, err
}

func (w *world) Monitor(_ context.Context, app protocol.AppSpec, target string) (protocol.MonitoringResult, error) {
	return protocol.MonitoringResult{Metadata: app.Metadata, Target: target}, w.call("monitor " + app.Version + " on " + target)
}

func scores(w *world) []capability.Score {
	return scoresOf(w, protocol.ImageSource{Ref: "app:1"})
}

func scoresOf(w *world, image protocol.ImageSource) []capability.Score {
	app, version := protocol.AppSpec{Metadata: protocol.Metadata{Name: "app"}, Image: image}, *semver.MustParse("1.4.0")
	return []capability.Score{
		capability.NewReleaseScore(w, app, version),
		capability.NewDeployScore(w, app, version, "staging"),
		capability.NewSmokeScore(w, app, version, "staging"),
		capability.NewMonitoringScore(w, app, version, "staging"),
	}
}

func TestPipelineOfScores(t *testing.T) {
	w := &world{}
	var record capability.Record
	var made []string
	record.Observe = func(m capability.Made) {
		made = append(made, strings.TrimSpace(fmt.Sprint(m.Document.DocumentKind(), " of ", m.Stage, " ", m.Target)))
	}
	var titles []string
	for _, score := range scores(w) {
		titles = append(titles, score.Title())
		if err := score.Run(t.Context(), &record); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"release", "deploy staging", "smoke staging", "monitor staging"}; !reflect.DeepEqual(titles, want) {
		t.Errorf("titles %q, want %q", titles, want)
	}
	if want := []string{"build 1.4.0", "push built", "chart of pushed", "deploy pushed chart to staging", "check staging", "monitor 1.4.0 on staging"}; !reflect.DeepEqual(w.calls, want) {
		t.Errorf("calls %q, want %q", w.calls, want)
	}
	if want := []string{"ImageRef of build", "ImageRef of publish", "ChartRef of publish", "DeployResult of deploy staging", "SmokeReport of smoke staging", "MonitoringResult of monitor staging"}; !reflect.DeepEqual(made, want) {
		t.Errorf("documents %q, want %q", made, want)
	}
}

// Of an app without an image only the chart is published and deployed.
func TestAppWithoutImage(t *testing.T) {
	w := &world{}
	var record capability.Record
	for _, score := range scoresOf(w, protocol.ImageSource{}) {
		if err := score.Run(t.Context(), &record); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"chart of ", "deploy  chart to staging", "check staging", "monitor 1.4.0 on staging"}; !reflect.DeepEqual(w.calls, want) {
		t.Errorf("calls %q, want %q", w.calls, want)
	}
	if made := record.Of("app", "", protocol.KindImageRef); len(made) > 0 {
		t.Errorf("there is an image: %v", made)
	}
	if err := scoresOf(w, protocol.ImageSource{})[1].Run(t.Context(), &capability.Record{}); err == nil {
		t.Error("it is deployed without a chart")
	}
}

func TestFailureTellsTheStage(t *testing.T) {
	for _, test := range []struct {
		fail, stage, target string
		score, documents    int
	}{
		{"build 1.4.0", "build", "", 0, 0},
		{"push built", "publish", "", 0, 1},
		{"chart of pushed", "publish", "", 0, 2},
		{"deploy pushed chart to staging", "deploy", "staging", 1, 3},
		{"check staging", "smoke", "staging", 2, 5},
		{"monitor 1.4.0 on staging", "monitor", "staging", 3, 5},
	} {
		w := &world{fail: test.fail}
		documents := 0
		record := capability.Record{Observe: func(capability.Made) { documents++ }}
		for i, score := range scores(w) {
			err := score.Run(t.Context(), &record)
			if i < test.score {
				if err != nil {
					t.Fatalf("%s: score %d: %v", test.fail, i, err)
				}
				continue
			}
			var stage *capability.StageError
			if !errors.As(err, &stage) || stage.Stage != test.stage || stage.Target != test.target {
				t.Errorf("%s: error %#v, want one of stage %s", test.fail, err, test.stage)
			}
			break
		}
		if documents != test.documents {
			t.Errorf("%s: %d documents, want %d", test.fail, documents, test.documents)
		}
	}
}

func TestDeployNeedsAReleaseBefore(t *testing.T) {
	w := &world{}
	if err := scores(w)[1].Run(t.Context(), &capability.Record{}); err == nil || len(w.calls) > 0 {
		t.Errorf("error %v, calls %q: want an error and no call", err, w.calls)
	}
}
