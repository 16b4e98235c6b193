package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/pipeline"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The test binary is also the stages of a release: as harmony-NAME it answers
// each app with the results of that stage, or misbehaves as told by the variable
// DO_NAME, "WHAT APP [MORE]".
func TestMain(m *testing.M) {
	if name, ok := strings.CutPrefix(filepath.Base(os.Args[0]), "harmony-"); ok {
		os.Exit(stage(name, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// kinds are what a stage waits for, and what else it is given.
var kinds = map[string][]protocol.Kind{
	"build": {protocol.KindAppSpec}, "publish": {protocol.KindImageRef}, "deploy": {protocol.KindChartRef, protocol.KindImageRef},
	"smoke": {protocol.KindAppSpec}, "notify": {protocol.KindAppSpec, protocol.KindDeployResult},
}

func stage(name string, args []string) int {
	note(name)
	out := protocol.NewWriter(os.Stdout)
	if args[0] == "describe" {
		_ = out.WriteSpec(protocol.PluginInfo{
			Metadata: protocol.Metadata{Name: name, Version: "1.0.0"}, Protocol: protocol.ProtocolRange{Min: 1, Max: 1}, Stage: name,
			Features: strings.Fields(os.Getenv("FEATURES")),
			Consumes: kinds[name], Produces: []protocol.Kind{protocol.KindSmokeReport},
			Capabilities: map[string][]string{"ContainerBuilder": {"x"}, "OCIRegistry": {"x"}, "HelmRegistry": {"x"}, "ContinuousDelivery": {"x"}},
		})
		return 0
	}
	what, about, _ := strings.Cut(os.Getenv("DO_"+name), " ")
	app, more, _ := strings.Cut(about, " ")
	in := protocol.NewReader(os.Stdin)
	var all sync.WaitGroup
	defer all.Wait()
	for {
		d, err := in.Next()
		if err != nil {
			return 0
		}
		_ = out.Write(d)
		if d.Kind != kinds[name][0] {
			continue
		}
		all.Go(func() {
			if d.Metadata.Name == app && misbehave(out, what, more, name, d.Metadata) {
				return
			}
			for _, s := range results(name, d.Metadata) {
				_ = out.WriteSpec(s)
			}
		})
	}
}

func results(name string, id protocol.Metadata) []protocol.Spec {
	image := protocol.ImageRef{Metadata: id, Repository: id.Name, Location: protocol.InRegistry}
	switch name {
	case "build":
		image.Location = ""
		return []protocol.Spec{image}
	case "publish":
		return []protocol.Spec{image, protocol.ChartRef{Metadata: id, Chart: id.Name}}
	case "deploy":
		return []protocol.Spec{protocol.DeployResult{Metadata: id, Target: os.Args[len(os.Args)-1], Outcome: protocol.OutcomeInstalled}}
	}
	return []protocol.Spec{protocol.SmokeReport{Metadata: id, Target: os.Args[len(os.Args)-1], Passed: true}}
}

// misbehave does what is asked for, and reports whether there is no result.
func misbehave(out *protocol.Writer, what, more, name string, id protocol.Metadata) bool {
	switch what {
	case "fail":
		code, _ := strconv.Atoi(more)
		_ = out.WriteSpec(protocol.Failure{Metadata: id, Stage: name, Code: code, Message: name + " says no"})
		return true
	case "die":
		os.Exit(7)
	case "garble":
		fmt.Println("Hello!")
		return true
	case "await": // a file that another stage writes
		for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if text, _ := os.ReadFile(os.Getenv("NOTES")); bytes.Contains(text, []byte(more)) {
				return false
			}
		}
		return true
	case "flood": // documents of another app
		for range 500 {
			_ = out.WriteSpec(protocol.MonitoringResult{Metadata: protocol.Metadata{Name: more, Version: id.Version}})
		}
	case "noise":
		_, _ = os.Stderr.Write(bytes.Repeat([]byte("x"), 1<<20))
	case "hang":
		note("hangs")
		select {}
	}
	if what == "note" {
		note(more)
	}
	return false
}

// note writes a line, with the password of the environment and the process id.
func note(what string) {
	file, err := os.OpenFile(os.Getenv("NOTES"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		fmt.Fprintf(file, "%s %s password=%s pid=%d\n", what, strings.Join(os.Args[1:], " "), os.Getenv("HARMONY_REGISTRY_PASSWORD"), os.Getpid())
		file.Close()
	}
}

// run is a release of apps with what was told of it.
type run struct {
	release         pipeline.Release
	notes           string
	results, failed []string
	longest         int // line of stderr
}

func newRun(t *testing.T, apps ...protocol.AppSpec) *run {
	t.Helper()
	bin := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name := range kinds {
		if err := os.Symlink(self, filepath.Join(bin, "harmony-"+name)); err != nil {
			t.Fatal(err)
		}
	}
	// The folder of go test's binaries is in one that all may write to.
	r := &run{notes: filepath.Join(t.TempDir(), "notes")}
	t.Setenv("NOTES", r.notes)
	provider := &protocol.Provider{Adapter: "x"}
	for i := range apps {
		apps[i].Version = "1.0.0"
	}
	topology := protocol.Topology{
		Metadata: protocol.Metadata{Name: "test"}, ContainerBuilder: provider, OCIRegistry: provider, HelmRegistry: provider, ContinuousDelivery: provider,
		Targets: map[string]protocol.Target{"staging": {}},
	}
	r.release = pipeline.Release{
		Topology: topology, Apps: apps, Targets: []string{"staging"},
		Steps:  []protocol.PipelineStep{{Stage: "release"}, {Stage: "deploy", Target: "staging"}, {Stage: "smoke", Target: "staging"}},
		Finder: discovery.Finder{Path: bin, UID: os.Getuid()}, Event: func(protocol.Event) {},
	}
	return r
}

// run carries it out.
func (r *run) run(t *testing.T, ctx context.Context) int {
	t.Helper()
	lines := make(chan int, 10_000)
	told := make(chan struct{}, 1)
	told <- struct{}{}
	add := func(list *[]string, format string, args ...any) {
		<-told
		*list = append(*list, strings.TrimSpace(fmt.Sprintf(format, args...)))
		told <- struct{}{}
	}
	r.release.Line = func(_, line string) { lines <- len(line) }
	r.release.Result = func(s protocol.Spec, stage, target string) {
		add(&r.results, "%s %s %s %s", s.Identity().Name, s.DocumentKind(), stage, target)
	}
	r.release.Failed = func(f protocol.Failure) {
		add(&r.failed, "%s %s %s %d: %s", f.Name, f.Stage, f.Target, f.Code, f.Message)
	}
	code, err := r.release.Run(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(lines)
	for n := range lines {
		r.longest = max(r.longest, n)
	}
	return code
}
