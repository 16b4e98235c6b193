package term

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// buffer can be written to while the test reads it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

var app = protocol.Metadata{Name: "app", Version: "1.0.0"}

func TestFailure(t *testing.T) {
	var out buffer
	c := New(Options{Err: &out, Getenv: env(nil)})
	c.Failure(protocol.Failure{Metadata: app, Stage: "deploy", Target: "staging", Message: "first\nsecond \x1b[2Jline", Hint: "do this"})
	c.Close()
	const want = "✗ app  deploy staging: first\n    second [2Jline\n  hint: do this\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestAnnotations(t *testing.T) {
	for _, test := range []struct {
		env  map[string]string
		want bool
	}{
		{map[string]string{"GITHUB_ACTIONS": "true"}, true},
		{map[string]string{"GITHUB_ACTIONS": "true", "GITEA_ACTIONS": "true"}, false},
		{nil, false},
	} {
		var out buffer
		c := New(Options{Err: &out, Getenv: env(test.env), Quiet: true})
		c.Failure(protocol.Failure{Metadata: app, Stage: "build", Message: "50% of it\nis wrong"})
		c.Close()
		if got := strings.Contains(out.String(), "::error title=harmony build app::50%25 of it%0Ais wrong\n"); got != test.want {
			t.Errorf("%v: %q", test.env, out.String())
		}
	}
}

// Where lines cannot be redrawn, only work that takes a while is told, each
// state of it once.
func TestLogTellsLongWorkOnce(t *testing.T) {
	var out buffer
	c := New(Options{Err: &out, Getenv: env(nil)})
	defer c.Close()
	quick := protocol.Event{Metadata: protocol.Metadata{Name: "quick"}, Stage: "build", Phase: "compile"}
	c.Event(quick)
	quick.Phase = protocol.PhaseEnd
	c.Event(quick)
	c.Event(protocol.Event{Metadata: app, Stage: "publish", Phase: "push", Message: "layer", Current: 1 << 20, Total: 3 << 20, Unit: "bytes"})
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(out.String(), "layer 1.0 MiB of 3.0 MiB") && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	c.mu.Lock()
	c.log()
	c.mu.Unlock()
	if n := strings.Count(out.String(), "layer"); n != 1 || strings.Contains(out.String(), "quick") {
		t.Errorf("%q", out.String())
	}
}

func TestQuietKeepsResultsWithAWriterOfTheirOwn(t *testing.T) {
	var out, results buffer
	c := New(Options{Err: &out, Results: &results, Getenv: env(nil), Quiet: true})
	c.Result(protocol.DeployResult{Metadata: app, Outcome: protocol.OutcomeUnchanged, Namespace: "x", Revision: 3}, "deploy", "staging")
	c.Line("not shown")
	c.Close()
	if out.String() != "" || !strings.HasPrefix(results.String(), "✔ app  deploy staging  unchanged in x, revision 3") {
		t.Errorf("%q, %q", out.String(), results.String())
	}
}

func TestDescribe(t *testing.T) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	for _, test := range []struct {
		spec protocol.Spec
		want string
	}{
		{protocol.ImageRef{Metadata: app, Digest: digest, Location: protocol.InLayout}, "built image app@sha256:0123456789ab"},
		{protocol.ImageRef{Metadata: app, Planned: true, Location: protocol.InLayout}, "would build image app"},
		{protocol.ImageRef{Registry: "r", Repository: "a", Tag: "1", Location: protocol.InRegistry, Unchanged: true}, "unchanged image r/a:1"},
		{protocol.ChartRef{URL: "oci://r/c", Chart: "c", ChartVersion: "1.0.0"}, "pushed chart r/c:1.0.0"},
		{protocol.ChartRef{Path: "/x", Chart: "c", ChartVersion: "1.0.0", Planned: true}, "would package chart c:1.0.0"},
		{protocol.DeployResult{Outcome: protocol.OutcomeUpgraded, Planned: true, Namespace: "n"}, "would upgrade in n"},
		{protocol.DeployResult{Outcome: protocol.OutcomeUpgraded, Namespace: "n", Revision: 4, Adopted: "helm"}, "upgraded in n, revision 4, adopted from helm"},
		{protocol.DeployResult{Outcome: protocol.OutcomeRolledBack, Namespace: "n", Revision: 5, RunningVersion: "1.3.0", Message: "check a failed"}, "rolled-back in n, revision 5, to 1.3.0: check a failed"},
		{protocol.DeployResult{Outcome: protocol.OutcomeGivenBack, Namespace: "n"}, "given back in n"},
		{protocol.DeployResult{Outcome: protocol.OutcomeGivenBack, Planned: true, Namespace: "n"}, "would give back in n"},
		{protocol.DeployResult{Outcome: protocol.OutcomeRemoved, Planned: true, Namespace: "n"}, "would remove from n"},
		{protocol.DeployResult{Outcome: protocol.OutcomeRemoved, Namespace: "n", Clusters: &protocol.ClusterCount{Total: 2, Removed: 1, Absent: 1}}, "removed from n of 2 clusters: 1 removed, 1 absent"},
		{protocol.DeployResult{Outcome: protocol.OutcomeAbsent, Planned: true, Namespace: "n"}, "not installed in n"},
		{protocol.DeployResult{Outcome: protocol.OutcomePublished, Published: &protocol.PublishedState{URL: "oci://r/a:latest"}}, "published r/a:latest; no device reports"},
		{protocol.DeployResult{Outcome: protocol.OutcomePublished, Published: &protocol.PublishedState{URL: "oci://r/a:latest", Unchanged: true, Ready: 1, Total: 2}}, "unchanged, published r/a:latest; 1 of 2 devices are ready"},
		{protocol.DeployResult{Outcome: protocol.OutcomePublished, Published: &protocol.PublishedState{URL: "oci://r/a:latest", Ready: 1, Total: 2, Waits: "ring-1 waits"}}, "published r/a:latest; 1 of 2 devices are ready; ring-1 waits"},
		{protocol.DeployResult{Outcome: protocol.OutcomePublished, Published: &protocol.PublishedState{URL: "oci://r/a:latest", Waits: "no device of group a"}}, "published r/a:latest; no device of group a"},
		{protocol.DeployResult{Outcome: protocol.OutcomeUpgraded, Published: &protocol.PublishedState{URL: "oci://r/a:latest", Ready: 2, Total: 2}}, "upgraded r/a:latest; 2 of 2 devices are ready"},
		{protocol.DeployResult{Outcome: protocol.OutcomePublished, Planned: true, Published: &protocol.PublishedState{URL: "oci://r/a:latest"}}, "would publish r/a:latest"},
		{protocol.DeployResult{Outcome: protocol.OutcomePublished, Published: &protocol.PublishedState{URL: "oci://r/a:latest", Tombstone: true, Ready: 1, Total: 2}}, "published a tombstone: r/a:latest; the app is gone from 1 of 2 devices"},
		{protocol.DeployResult{Outcome: protocol.OutcomePublished, Planned: true, Published: &protocol.PublishedState{URL: "oci://r/a:latest", Tombstone: true}}, "would publish a tombstone: r/a:latest"},
		{protocol.DeployResult{Outcome: protocol.OutcomeRemoved, Published: &protocol.PublishedState{URL: "oci://r/a:latest", Tombstone: true, Ready: 2, Total: 2}}, "removed r/a:latest; the app is gone from 2 of 2 devices"},
		{protocol.SmokeReport{Checks: []protocol.CheckResult{{Status: protocol.CheckPassed}, {Status: protocol.CheckFailed}}}, "1 of 2 checks passed"},
		{protocol.SmokeReport{Planned: true, Checks: make([]protocol.CheckResult, 2)}, "would run 2 checks"},
		{protocol.SmokeReport{Passed: true}, "no checks"},
		{protocol.Result{Summary: "12 files\x1b[31m\nand more"}, "12 files[31m"},
		{protocol.Result{Document: protocol.Document{Kind: "BackupResult"}}, "made a BackupResult"},
		{protocol.Result{Document: protocol.Document{Kind: "BackupResult"}, Planned: true}, "would make a BackupResult"},
		{protocol.Result{Document: protocol.Document{Kind: "BackupResult"}, Unchanged: true}, "unchanged BackupResult"},
	} {
		if got := Describe(test.spec); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

func TestClean(t *testing.T) {
	if got := Clean("a\x1b]0;title\x07b\tc\nd\u202ee\r\u009b31m"); got != "a]0;titleb\tc\nde31m" {
		t.Errorf("%q", got)
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 5 << 20: "5.0 MiB", 3 << 40: "3.0 TiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestStepsAreLines(t *testing.T) {
	for quiet, want := range map[bool]string{false: "  app  build  #1 RUN a 1 of 2 steps\n  app  build  #1 RUN a 0.5s 2 of 2 steps\n", true: ""} {
		var out buffer
		c := New(Options{Err: &out, Getenv: env(nil), Quiet: quiet})
		c.Event(protocol.Event{Metadata: app, Stage: "build", Phase: protocol.PhaseStep, Message: "#1 \x1bRUN a", Current: 1, Total: 2, Unit: "steps"})
		c.Event(protocol.Event{Metadata: app, Stage: "build", Phase: "build", Message: "#1 its output"})
		c.Event(protocol.Event{Metadata: app, Stage: "build", Phase: protocol.PhaseStep, Message: "#1 RUN a 0.5s", Current: 2, Total: 2, Unit: "steps"})
		c.Close()
		if out.String() != want {
			t.Errorf("%q, want %q", out.String(), want)
		}
	}
}

func TestExplanationStays(t *testing.T) {
	for quiet, want := range map[bool]string{false: "  app  build  file a changed\n", true: ""} {
		var out buffer
		c := New(Options{Err: &out, Getenv: env(nil), Quiet: quiet})
		c.Event(protocol.Event{Metadata: app, Stage: "build", Phase: protocol.PhaseExplain, Message: "file a \x1bchanged"})
		c.Close()
		if out.String() != want {
			t.Errorf("%q, want %q", out.String(), want)
		}
	}
}
