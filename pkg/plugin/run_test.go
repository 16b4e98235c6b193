package plugin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/protocol"
)

const topologyLine = `{"apiVersion":"harmony.nationtech.io/v1","kind":"Topology","metadata":{"name":"local"},"spec":{"targets":{"staging":{"inCluster":{"namespace":"x"}}}}}`

func appLine(name string, dependsOn ...string) string {
	spec := `"image":{"buildable":{"type":"go"}},"chart":{"path":"chart","image":{"value":"image"}}`
	if len(dependsOn) > 0 {
		spec += `,"dependsOn":["` + strings.Join(dependsOn, `","`) + `"]`
	}
	return fmt.Sprintf(`{"apiVersion":"harmony.nationtech.io/v1","kind":"AppSpec","metadata":{"name":%q,"version":"1.0.0"},"spec":{%s}}`, name, spec)
}

func imageLine(name string) string {
	return fmt.Sprintf(`{"apiVersion":"harmony.nationtech.io/v1","kind":"ImageRef","metadata":{"name":%q,"version":"1.0.0"},"spec":{"repository":%q,"future":{"a":1}}}`, name, name)
}

func failureLine(name string, code int) string {
	return fmt.Sprintf(`{"apiVersion":"harmony.nationtech.io/v1","kind":"Failure","metadata":{"name":%q,"version":"1.0.0"},"spec":{"stage":"build","code":%d,"message":"no"}}`, name, code)
}

// stage needs an AppSpec and the kinds given, and makes a ChartRef.
func stage(work plugin.Work, needs ...protocol.Kind) plugin.Stage {
	return plugin.Stage{
		Name: "test", Needs: append([]protocol.Kind{protocol.KindAppSpec}, needs...),
		Open: func(context.Context, plugin.Environment) (plugin.Work, error) { return work, nil },
	}
}

func chart(_ context.Context, in plugin.Inputs, emit func(protocol.Spec)) error {
	emit(protocol.ChartRef{Chart: in.App.Name})
	return nil
}

// run feeds lines to a stage and returns its status and the lines it wrote.
func run(t *testing.T, s plugin.Stage, inv plugin.Invocation, lines ...string) (int, []string) {
	t.Helper()
	var out bytes.Buffer
	if inv.Stdin == nil {
		inv.Stdin = strings.NewReader(strings.Join(lines, "\n"))
	}
	inv.Stdout = &out
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	code := s.Run(ctx, inv)
	written := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if out.Len() == 0 {
		written = nil
	}
	return code, written
}

// results are the lines that were not among those read.
func results(written, read []string) []string {
	return slices.DeleteFunc(slices.Clone(written), func(line string) bool { return slices.Contains(read, line) })
}

func TestForwardsEveryLineByteForByte(t *testing.T) {
	odd := `{ "kind":"Weather", "apiVersion":"example.com/v9","metadata":{"name":"x","extra":[1, 2]},"spec":{"ü":"<&>"},"more":null}`
	read := []string{topologyLine, appLine("a"), odd, imageLine("a")}
	code, written := run(t, stage(chart, protocol.KindImageRef), plugin.Invocation{}, read...)
	if code != 0 {
		t.Fatalf("exit status %d", code)
	}
	for _, line := range read {
		if !slices.Contains(written, line) {
			t.Errorf("not forwarded as it was: %s", line)
		}
	}
	if got := results(written, read); len(got) != 1 || !strings.Contains(got[0], `"kind":"ChartRef","metadata":{"name":"a","version":"1.0.0"}`) {
		t.Errorf("results: %q", got)
	}
}

func TestExitStatus(t *testing.T) {
	bad := func(code int) plugin.Work {
		return func(context.Context, plugin.Inputs, func(protocol.Spec)) error {
			return &protocol.Error{Code: code, Message: "it broke", Hint: "mend it"}
		}
	}
	for _, test := range []struct {
		name  string
		stage plugin.Stage
		inv   plugin.Invocation
		lines []string
		code  int
		tells string
	}{
		{"work fails", stage(bad(4)), plugin.Invocation{}, []string{topologyLine, appLine("a")}, 4, `"code":4,"message":"it broke","hint":"mend it","retryable":true`},
		{"failure before", stage(chart), plugin.Invocation{}, []string{topologyLine, failureLine("a", 4), appLine("a")}, 4, ``},
		{"failure of the whole stage before", stage(chart), plugin.Invocation{}, []string{topologyLine, failureLine("", 3), appLine("a")}, 3, ``},
		{"failure without a code", stage(chart), plugin.Invocation{}, []string{topologyLine, failureLine("a", 0)}, 1, ``},
		{"garbage", stage(chart), plugin.Invocation{}, []string{topologyLine, `garbage`}, 2, `stdin, line 2: not a JSON object`},
		{"nothing", stage(chart), plugin.Invocation{}, nil, 2, `no AppSpec on stdin`},
		{"an image alone", stage(chart), plugin.Invocation{}, []string{topologyLine, imageLine("a")}, 2, `the documents on stdin end without its AppSpec`},
		{"one app of two without", stage(chart), plugin.Invocation{}, []string{topologyLine, appLine("b"), imageLine("a")}, 2, `"name":"a","version":"1.0.0"},"spec":{"stage":"test","code":2,"message":"the documents on stdin end without its AppSpec`},
		{"a glob of none", stage(chart), plugin.Invocation{Apps: []string{"x*"}}, []string{topologyLine, appLine("b")}, 2, `app \"x*\" is not among the documents`},
		{"a code that no process ends with", stage(chart), plugin.Invocation{}, []string{topologyLine, failureLine("a", 512)}, 1, ``},
		{"work fails with such a code", stage(bad(256)), plugin.Invocation{}, []string{topologyLine, appLine("a")}, 1, `"code":1,`},
		{"cut off", stage(chart, protocol.KindImageRef), plugin.Invocation{}, []string{topologyLine, appLine("a")}, 2, `end without its ImageRef`},
		{"no topology", stage(chart), plugin.Invocation{}, []string{appLine("a")}, 2, `no Topology on stdin`},
		{"invalid app", stage(chart), plugin.Invocation{}, []string{topologyLine, strings.Replace(appLine("a"), `"path":"chart"`, `"path":"../../etc"`, 1)}, 2, `spec.chart.path`},
		{"another app asked for", stage(chart), plugin.Invocation{Apps: []string{"b"}}, []string{topologyLine, appLine("a")}, 2, `app \"b\" is not among the documents`},
		{"dry run's document", stage(chart, protocol.KindImageRef), plugin.Invocation{}, []string{topologyLine, appLine("a"), strings.Replace(imageLine("a"), `"spec":{`, `"spec":{"planned":true,`, 1)}, 2, `is of a dry run`},
		{"panic", stage(func(context.Context, plugin.Inputs, func(protocol.Spec)) error { panic("oops") }), plugin.Invocation{}, []string{topologyLine, appLine("a")}, 1, `internal error: oops`},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, written := run(t, test.stage, test.inv, test.lines...)
			got := strings.Join(results(written, test.lines), "\n")
			if code != test.code || !strings.Contains(got, test.tells) {
				t.Errorf("exit status %d, want %d; wrote %s, want %s", code, test.code, got, test.tells)
			}
			if test.tells == "" && got != "" {
				t.Errorf("work was done: %s", got)
			}
		})
	}
}

func TestOneFailureDoesNotStopTheOthers(t *testing.T) {
	work := func(ctx context.Context, in plugin.Inputs, emit func(protocol.Spec)) error {
		if in.App.Name == "b" {
			return errors.New("b is broken")
		}
		return chart(ctx, in, emit)
	}
	lines := []string{topologyLine, appLine("a"), appLine("b"), appLine("c", "b"), failureLine("d", 4), appLine("d")}
	s := stage(work)
	s.Ordered = true
	code, written := run(t, s, plugin.Invocation{}, lines...)
	got := strings.Join(results(written, lines), "\n")
	if code != 1 {
		t.Errorf("exit status %d", code)
	}
	if !strings.Contains(got, `"chart":"a"`) || strings.Contains(got, `"chart":"c"`) || strings.Contains(got, `"chart":"d"`) {
		t.Errorf("wrote %s", got)
	}
	if !strings.Contains(got, `depends on \"b\", which failed`) {
		t.Errorf("c does not tell why it was not started: %s", got)
	}
}

func TestDependenciesComeFirst(t *testing.T) {
	var mu sync.Mutex
	var order []string
	work := func(_ context.Context, in plugin.Inputs, _ func(protocol.Spec)) error {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, in.App.Name)
		return nil
	}
	s := stage(work, protocol.KindImageRef)
	s.Ordered = true
	lines := []string{topologyLine, appLine("agent", "operator"), appLine("operator", "callout"), appLine("callout"), imageLine("agent"), imageLine("operator"), imageLine("callout")}
	pr, pw := io.Pipe()
	go func() {
		defer pw.Close()
		fmt.Fprintln(pw, strings.Join(lines, "\n"))
	}()
	code, _ := run(t, s, plugin.Invocation{Stdin: pr, Parallel: 3, Apps: []string{"agent", "operator", "callout"}})
	if want := []string{"callout", "operator", "agent"}; code != 0 || !slices.Equal(order, want) {
		t.Fatalf("exit status %d, order %v, want %v", code, order, want)
	}
	cycle := []string{topologyLine, appLine("a", "b"), appLine("b", "a"), imageLine("a"), imageLine("b")}
	code, written := run(t, s, plugin.Invocation{}, cycle...)
	if got := strings.Join(written, "\n"); code != 2 || !strings.Contains(got, `goes in a circle: a -> b -> a`) {
		t.Errorf("cycle: exit status %d, %s", code, got)
	}
}

// The work of one app starts while the stream still lasts.
func TestStagesOverlap(t *testing.T) {
	pr, pw := io.Pipe()
	started := make(chan string, 1)
	s := stage(func(_ context.Context, in plugin.Inputs, _ func(protocol.Spec)) error {
		started <- in.App.Name
		return nil
	}, protocol.KindImageRef)
	ended := make(chan int)
	go func() { ended <- s.Run(t.Context(), plugin.Invocation{Stdin: pr, Stdout: io.Discard}) }()
	fmt.Fprintln(pw, topologyLine+"\n"+appLine("a")+"\n"+appLine("b")+"\n"+imageLine("a"))
	select {
	case name := <-started:
		if name != "a" {
			t.Errorf("started %s", name)
		}
	case <-time.After(10 * time.Second):
		t.Error("a was not started before the stream ended")
	}
	fmt.Fprintln(pw, imageLine("b"))
	pw.Close()
	if code := <-ended; code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// Of several documents of one kind for one app the last holds.
func TestLastDocumentHolds(t *testing.T) {
	newer := strings.Replace(imageLine("a"), `"repository":"a"`, `"repository":"newer"`, 1)
	s := stage(func(_ context.Context, in plugin.Inputs, emit func(protocol.Spec)) error {
		emit(protocol.ChartRef{Chart: in.Image.Repository})
		return nil
	}, protocol.KindImageRef)
	_, written := run(t, s, plugin.Invocation{}, topologyLine, appLine("a"), imageLine("a"), newer)
	if last := written[len(written)-1]; !strings.Contains(last, `"chart":"newer"`) {
		t.Errorf("last result: %s", last)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	working, read := make(chan struct{}), make(chan struct{})
	s := stage(func(ctx context.Context, _ plugin.Inputs, _ func(protocol.Spec)) error {
		close(working)
		<-ctx.Done()
		return fmt.Errorf("push: %w", ctx.Err())
	})
	pr, pw := io.Pipe()
	var out bytes.Buffer
	ended := make(chan int)
	go func() {
		ended <- s.Run(ctx, plugin.Invocation{Stdin: pr, Stdout: &out, Parallel: 1, Observe: func(d protocol.Document, _ bool) {
			if d.Kind == "Mark" {
				close(read)
			}
		}})
	}()
	fmt.Fprintln(pw, topologyLine+"\n"+appLine("a")+"\n"+appLine("b"))
	fmt.Fprintln(pw, `{"apiVersion":"x","kind":"Mark"}`)
	<-working
	<-read
	cancel()
	select {
	case code := <-ended:
		if code != 130 {
			t.Errorf("exit status %d", code)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still running though its stdin is open")
	}
	if n := strings.Count(out.String(), `"code":130`); n != 2 {
		t.Errorf("%d failures with code 130, want 2: %s", n, out.String())
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestClosedStdout(t *testing.T) {
	var told []protocol.Failure
	code := stage(chart).Run(t.Context(), plugin.Invocation{
		Stdin: strings.NewReader(topologyLine + "\n" + appLine("a")), Stdout: brokenPipe{},
		Failed: func(f protocol.Failure) { told = append(told, f) },
	})
	if code != 1 {
		t.Errorf("exit status %d", code)
	}
	if len(told) == 0 {
		t.Error("nobody was told")
	}
}

// source is a project with these apps.
func source(t *testing.T, names ...string) func(context.Context, []string) (protocol.Topology, []protocol.AppSpec, error) {
	t.Helper()
	topology := decoded[protocol.Topology](t, topologyLine)
	var apps []protocol.AppSpec
	for _, name := range names {
		apps = append(apps, decoded[protocol.AppSpec](t, appLine(name)))
	}
	return func(context.Context, []string) (protocol.Topology, []protocol.AppSpec, error) {
		return topology, apps, nil
	}
}

func decoded[S any, P protocol.Decodable[S]](t *testing.T, line string) S {
	t.Helper()
	d, err := protocol.Parse([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	s, err := protocol.Decode[S, P](d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSource(t *testing.T) {
	var out bytes.Buffer
	code := stage(chart).Run(t.Context(), plugin.Invocation{
		Stdout: &out, Apps: []string{"a*"},
		Source: source(t, "app", "late"),
	})
	// Every AppSpec comes before the first result: a later stage knows all
	// dependencies from the start.
	lines := strings.Split(out.String(), "\n")
	if code != 0 || len(lines) != 6 || lines[1] != appLine("app") || lines[2] != appLine("late") || !strings.Contains(lines[3], `"ChartRef"`) {
		t.Errorf("exit status %d: %s", code, out.String())
	}
	out.Reset()
	code = stage(chart).Run(t.Context(), plugin.Invocation{
		Stdout: &out,
		Source: func(context.Context, []string) (protocol.Topology, []protocol.AppSpec, error) {
			return protocol.Topology{}, nil, protocol.Invalid("no app %q", "x")
		},
	})
	if code != 2 || !strings.Contains(out.String(), `"metadata":{"name":""}`) {
		t.Errorf("exit status %d: %s", code, out.String())
	}
}

func TestSelection(t *testing.T) {
	read := []string{topologyLine, appLine("b1"), imageLine("a")} // without the AppSpec of a
	for _, apps := range [][]string{{"b1"}, {"b*"}} {
		code, written := run(t, stage(chart), plugin.Invocation{Apps: apps}, read...)
		if made := results(written, read); code != 0 || len(made) != 1 || !strings.Contains(made[0], `"ChartRef","metadata":{"name":"b1"`) {
			t.Errorf("%v: exit status %d, %q", apps, code, made)
		}
	}
	if code, written := run(t, stage(chart), plugin.Invocation{Apps: []string{"*"}}, read[:2]...); code != 0 || len(written) != 3 {
		t.Errorf("all: exit status %d, %q", code, written)
	}
}

// A stream that ends before its first byte, or has none in time, is none: CI
// systems leave such pipes as stdin. One with a byte is a stream.
func TestStreamWithoutDocuments(t *testing.T) {
	silent, writer := io.Pipe()
	defer writer.Close()
	for name, test := range map[string]struct {
		inv  plugin.Invocation
		code int
		tell string
	}{
		"empty":         {plugin.Invocation{Stdin: strings.NewReader(""), Source: source(t, "app")}, 0, `"ChartRef"`},
		"silent":        {plugin.Invocation{Stdin: silent, Patience: time.Millisecond, Source: source(t, "app")}, 0, `"ChartRef"`},
		"no project":    {plugin.Invocation{Stdin: strings.NewReader("")}, 2, "no AppSpec on stdin"},
		"not a project": {plugin.Invocation{Stdin: strings.NewReader(topologyLine + "\n"), Source: source(t, "app")}, 2, "no AppSpec on stdin"},
		"a stream":      {plugin.Invocation{Stdin: strings.NewReader(topologyLine + "\n" + appLine("b")), Patience: time.Minute, Source: source(t, "app")}, 0, `"name":"b"`},
	} {
		t.Run(name, func(t *testing.T) {
			code, written := run(t, stage(chart), test.inv)
			if code != test.code || !strings.Contains(strings.Join(written, "\n"), test.tell) {
				t.Errorf("exit status %d: %q", code, written)
			}
		})
	}
	code, written := run(t, stage(chart, protocol.KindImageRef), plugin.Invocation{Stdin: strings.NewReader(""), Source: source(t, "app")})
	if code != 2 || !strings.Contains(strings.Join(written, "\n"), "it has no ImageRef yet, and stdin has no documents") {
		t.Errorf("exit status %d: %q", code, written)
	}
}

// The status of an app that was not started is that of the one it depends on, not
// that of the run.
func TestDependentHasTheStatusOfItsDependency(t *testing.T) {
	ordered := stage(func(_ context.Context, in plugin.Inputs, _ func(protocol.Spec)) error {
		return &protocol.Error{Code: map[string]int{"bad": 2, "late": 4}[in.App.Name], Message: "no"}
	})
	ordered.Ordered = true
	_, written := run(t, ordered, plugin.Invocation{Parallel: 1}, topologyLine, appLine("bad"), appLine("late"), appLine("next", "late"), failureLine("gone", 5), appLine("after", "gone"))
	text := strings.Join(written, "\n")
	for _, want := range []string{`"code":4,"message":"not started: it depends on \"late\"`, `"code":5,"message":"not started: it depends on \"gone\"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

// What the stream allows is judged before it is used.
func TestVet(t *testing.T) {
	for _, refused := range []protocol.Kind{protocol.KindTopology, protocol.KindImageRef} {
		vet := func(_ context.Context, s protocol.Spec) error {
			if s.DocumentKind() == refused {
				return errors.New("not this one")
			}
			return nil
		}
		read := []string{topologyLine, appLine("a"), imageLine("a")}
		code, written := run(t, stage(chart, protocol.KindImageRef), plugin.Invocation{Vet: vet}, read...)
		if made := results(written, read); code != 2 || len(made) != 1 || !strings.Contains(made[0], "not this one") {
			t.Errorf("%s: exit status %d, %q", refused, code, made)
		}
	}
}

// delivery fails after it went back to what ran before.
type delivery struct{}

func (delivery) Deploy(_ context.Context, app protocol.AppSpec, target string, _ protocol.ImageRef, _ protocol.ChartRef) (protocol.DeployResult, error) {
	return protocol.DeployResult{Metadata: app.Metadata, Target: target, Outcome: protocol.OutcomeRolledBack}, errors.New("not ready in time")
}

// A deploy that was rolled back is told by its result and by a failure, and is
// nothing that the smoke stage works on.
func TestRolledBackDeployIsAResultAndAFailure(t *testing.T) {
	deploy := plugin.Deploy("1.0.0", plugin.Adapters[capability.ContinuousDelivery]{
		"x": func(context.Context, capability.Environment) (capability.ContinuousDelivery, error) {
			return delivery{}, nil
		},
	})
	topology := strings.Replace(topologyLine, `"spec":{`, `"spec":{"continuousDelivery":{"adapter":"x"},`, 1)
	chartLine := strings.Replace(imageLine("a"), "ImageRef", "ChartRef", 1)
	read := []string{topology, appLine("a"), imageLine("a"), chartLine}
	code, written := run(t, deploy, plugin.Invocation{Target: "staging"}, read...)
	made := results(written, read)
	if code != protocol.ExitFailed || len(made) != 2 || !strings.Contains(made[0], `"rolled-back"`) || !strings.Contains(made[1], "not ready in time") {
		t.Fatalf("exit status %d, results %q", code, made)
	}

	worked := false
	smoke := plugin.Stage{
		Name: "smoke", Needs: []protocol.Kind{protocol.KindAppSpec}, Awaits: []protocol.Kind{protocol.KindDeployResult},
		Open: func(context.Context, plugin.Environment) (plugin.Work, error) {
			return func(context.Context, plugin.Inputs, func(protocol.Spec)) error {
				worked = true
				return nil
			}, nil
		},
	}
	// The result comes a while before the failure.
	in, out := io.Pipe()
	go func() {
		for i, line := range written {
			if i == len(written)-1 {
				time.Sleep(50 * time.Millisecond)
			}
			fmt.Fprintln(out, line)
		}
		out.Close()
	}()
	if code, _ := run(t, smoke, plugin.Invocation{Stdin: in, Target: "staging"}); code != protocol.ExitFailed || worked {
		t.Errorf("exit status %d, worked %t, want the failure's status and no work", code, worked)
	}
}

// watcher lets an app be watched.
type watcher struct{}

func (watcher) Monitor(_ context.Context, app protocol.AppSpec, target string) (protocol.MonitoringResult, error) {
	return protocol.MonitoringResult{Metadata: app.Metadata, Target: target, Adapter: "x", Objects: []protocol.MonitoringObject{}}, nil
}

// Monitor works on the target named, else on those that the stream says the app
// was deployed to; a topology without the capability is refused.
func TestMonitorGoesWhereTheAppIs(t *testing.T) {
	stage := plugin.Monitor("1.0.0", plugin.Adapters[capability.Monitoring]{
		"x": func(context.Context, capability.Environment) (capability.Monitoring, error) { return watcher{}, nil },
	})
	topology := strings.Replace(topologyLine, `"spec":{`, `"spec":{"monitoring":{"adapter":"x"},`, 1)
	deployed := `{"apiVersion":"harmony.nationtech.io/v1","kind":"DeployResult","metadata":{"name":"a","version":"1.0.0"},"spec":{"target":"staging","adapter":"helm","outcome":"unchanged","image":"","chart":""}}`
	read := []string{topology, appLine("a"), deployed}
	for _, target := range []string{"", "staging"} {
		code, written := run(t, stage, plugin.Invocation{Target: target}, read...)
		if made := results(written, read); code != protocol.ExitOK || len(made) != 1 || !strings.Contains(made[0], `"kind":"MonitoringResult"`) || !strings.Contains(made[0], `"target":"staging"`) {
			t.Errorf("target %q: exit status %d, results %q", target, code, made)
		}
	}
	read[0] = topologyLine
	code, written := run(t, stage, plugin.Invocation{Target: "staging"}, read...)
	if made := results(written, read); code != protocol.ExitUnsupported || !strings.Contains(strings.Join(made, ""), "has no Monitoring") {
		t.Errorf("without the capability: exit status %d, results %q", code, made)
	}
}
