package smoke

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestExec(t *testing.T) {
	root := t.TempDir()
	t.Setenv("SHOP_PASSWORD", "opensesame")
	t.Setenv("HARMONY_REGISTRY_PASSWORD", "opensesame")
	script := func(name, text string) {
		if err := os.WriteFile(filepath.Join(root, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	script("told.sh", `cat >stdin; env >environment; pwd; echo $1`)
	script("broken.sh", "echo first >&2; echo the book is lost >&2; exit 7")
	script("silent.sh", "exit 3")
	script("slow.sh", "sleep 60 & sleep 60")
	for name, c := range map[string]struct {
		command []string
		timeout time.Duration
		want    string // of the message
		code    int
	}{
		"passes":          {[]string{"./told.sh", "an argument"}, time.Minute, root + " an argument", 0},
		"fails":           {[]string{"./broken.sh"}, time.Second, "broken.sh: exit status 7: first the book is lost", protocol.ExitSmoke},
		"says nothing":    {[]string{"./silent.sh"}, time.Second, "silent.sh: exit status 3", protocol.ExitSmoke},
		"does not end":    {[]string{"./slow.sh"}, 100 * time.Millisecond, "no answer in ", protocol.ExitSmoke},
		"is not there":    {[]string{"./missing.sh"}, time.Minute, "", protocol.ExitUnsupported},
		"is not on PATH":  {[]string{"harmony-no-such-program"}, time.Minute, "", protocol.ExitUnsupported},
		"is found on it":  {[]string{"true"}, time.Minute, "", 0},
		"is no file mode": {[]string{"./stdin"}, time.Minute, "", protocol.ExitUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			app := appWith(protocol.SmokeCheck{Name: "exec", Exec: &protocol.ExecCheck{Command: c.command}, Timeout: protocol.Duration(c.timeout)})
			app.ProjectRoot = root
			report, err := newChecker(t, capability.Environment{}).Check(t.Context(), app, "staging")
			if protocol.ExitCode(err) != c.code {
				t.Fatalf("%v, want exit status %d", err, c.code)
			}
			if len(report.Checks) > 0 && !strings.Contains(report.Checks[0].Message, c.want) {
				t.Errorf("message %q, want %q", report.Checks[0].Message, c.want)
			}
		})
	}
	for file, want := range map[string][]string{
		"stdin":       {`"kind":"Topology"`, "\n" + `{"apiVersion":"harmony.nationtech.io/v1","kind":"AppSpec"`},
		"environment": {"HARMONY_APP=fleet-operator\n", "HARMONY_VERSION=1.4.0\n", "HARMONY_TARGET=staging\n", "HARMONY_NAMESPACE=\n"},
	} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range want {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s does not contain %q:\n%s", file, want, text)
			}
		}
		if strings.Contains(string(text), "opensesame") {
			t.Errorf("%s contains a secret", file)
		}
	}
}
