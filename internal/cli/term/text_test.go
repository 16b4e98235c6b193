package term

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"plain: a::b\nand ## more [x]":               "plain: a::b\nand ## more [x]",
		"\x1b]0;title\x07\x1b[31mred\u202e\r\u0085":  "]0;title[31mred",
		"denied\n::set-env name=A::/evil":            "denied\n| ::set-env name=A::/evil",
		" \t\u00a0::add-path::/evil":                 " \t\u00a0| ::add-path::/evil",
		"\x1b\u200b:\x07:stop-commands::x":           "| ::stop-commands::x",
		"boom ##[add-path]/tmp #\x00#[debug] ###[x]": "boom # #[add-path]/tmp # #[debug] ## #[x]",
		"##vso[task.setvariable variable=A]b":        "# #vso[task.setvariable variable=A]b",
	} {
		if got := Clean(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got := OneLine(" a\n\n ::b\t ##\u200b[c "); got != "a | ::b # #[c" && got != "a ::b # #[c" {
		t.Errorf("one line: %q", got)
	}
	if got := Excerpt("äöü und\nmehr", 5); got != "äöü u…" {
		t.Errorf("excerpt: %q", got)
	}
	if got := FirstLine("\n fatal: \x1b[1mno\nmore"); got != "fatal: [1mno" {
		t.Errorf("first line: %q", got)
	}
}

// Whatever a stage, a registry or a device says: no escape reaches the screen, and
// no line can be taken for a command by a CI system.
func TestNothingShownIsObeyed(t *testing.T) {
	const evil = "\x1b]0;PWNED\x07x\r\n::add-path::/evil\n  ::set-env name=LD_PRELOAD::/evil.so\n##[set-env name=A]b"
	id := protocol.Metadata{Name: evil, Version: evil}
	for name, env := range map[string]map[string]string{"GitHub": {"GITHUB_ACTIONS": "true"}, "Gitea": {"GITHUB_ACTIONS": "true", "GITEA_ACTIONS": "true"}, "none": nil} {
		var out buffer
		c := New(Options{Err: &out, Getenv: func(name string) string { return env[name] }})
		c.Event(protocol.Event{Metadata: id, Stage: evil, Target: evil, Phase: evil, Unit: evil, Current: 1, Total: 2, Message: evil})
		c.Event(protocol.Event{Metadata: id, Stage: evil, Phase: evil, Unit: evil, Current: 1})
		c.Event(protocol.Event{Metadata: id, Stage: evil, Phase: protocol.PhaseStep, Message: evil})
		c.Event(protocol.Event{Metadata: id, Stage: evil, Phase: protocol.PhaseExplain, Message: evil})
		if name == "GitHub" { // the log of the work under way
			eventually(t, func() bool { return strings.Contains(out.String(), "1 of 2") })
		}
		for _, s := range []protocol.Spec{
			protocol.ImageRef{Metadata: id, Registry: evil, Repository: evil, Tag: evil, Digest: evil},
			protocol.ChartRef{Metadata: id, URL: evil, Chart: evil, ChartVersion: evil, Digest: evil},
			protocol.DeployResult{Metadata: id, Namespace: evil, Cluster: evil, Outcome: evil, Message: evil},
			protocol.DeployResult{Metadata: id, Published: &protocol.PublishedState{URL: evil, Digest: evil}, Outcome: evil},
			protocol.SmokeReport{Metadata: id, Checks: []protocol.CheckResult{{Name: evil, Type: evil, Cluster: evil, Status: evil, Message: evil}}},
			protocol.Result{Document: protocol.Document{Metadata: id, Kind: evil}, Summary: evil},
		} {
			c.Result(s, evil, evil)
		}
		c.Failure(protocol.Failure{Metadata: id, Stage: evil, Target: evil, Message: evil, Hint: evil})
		c.Error(errors.New(evil))
		c.Line("%s: %s", evil, evil)
		c.Summary(evil, []protocol.AppSpec{{Metadata: id}}, 1, time.Second)
		c.Close()
		Tell(&out, &protocol.Error{Message: evil, Hint: evil})
		if err := Table(&out, [][]string{{evil, evil}, {"::add-path::/evil", "b"}}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			annotated := strings.HasPrefix(line, "::error title=harmony ") && strings.Count(line, "::") >= 2 && name == "GitHub"
			if text := strings.TrimSpace(line); strings.HasPrefix(text, "::") && !annotated || strings.Contains(text, "##[") || strings.ContainsAny(line, "\x1b\x07\r") {
				t.Errorf("%s: %q", name, line)
			}
		}
	}
}

func eventually(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within 20 s")
		}
	}
}

func FuzzExcerpt(f *testing.F) {
	f.Add("plain", 10)
	f.Add("\x1b[31mred\x1b[0m\r\nnext\x00\u202e", 4)
	f.Add("\xff\xfe", 1)
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = 1 + min(max(limit, -limit, 0), 1000)
		got := Excerpt(s, limit)
		if n := utf8.RuneCountInString(got); n > limit+1 {
			t.Errorf("%d characters, limit %d", n, limit)
		}
		if strings.Contains(got, "##[") || strings.HasPrefix(strings.TrimSpace(got), "::") {
			t.Errorf("%q is a command", got)
		}
		for _, r := range got {
			if unicode.IsControl(r) || r == '\u202e' {
				t.Errorf("%q holds %U", got, r)
			}
		}
	})
}
