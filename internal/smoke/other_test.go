package smoke

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// other runs the one check of the kind by an executable, on devices: no cluster is needed.
func other(t *testing.T, path string, settings map[string]any, timeout time.Duration, interval protocol.Duration) (protocol.SmokeReport, error) {
	t.Helper()
	find := func(kind string) (string, error) {
		if kind != "odd" {
			return "", errors.New("another kind is looked for: " + kind)
		}
		return path, nil
	}
	env := capability.Environment{
		Progress: func(protocol.Event) {},
		Topology: protocol.Topology{
			OCIRegistry: &protocol.Provider{Adapter: "oci", URL: "registry.example.com/fleet"},
			Targets:     map[string]protocol.Target{"edge": {EdgeDevice: &protocol.EdgeDevice{Group: "vans"}}},
		},
	}
	c, err := New(&conn.Flags{}, find)(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	app := appWith(protocol.SmokeCheck{Name: "strange", Other: map[string]map[string]any{"odd": settings}, Timeout: protocol.Duration(timeout), Interval: interval})
	app.ProjectRoot = t.TempDir()
	deployed := protocol.DeployResult{Image: "sha256:abc"}
	return c.(capability.DeployedChecker).CheckDeployed(t.Context(), app, deployed, "edge")
}

func TestOther(t *testing.T) {
	folder := t.TempDir()
	answer := func(spec string) string {
		return `echo '{"apiVersion":"harmony.nationtech.io/v1","kind":"CheckAnswer","metadata":{"name":"fleet-operator"},"spec":` + spec + `}'` + "\n"
	}
	for name, c := range map[string]struct {
		script   string
		timeout  time.Duration
		code     int
		message  string
		attempts int // 0 is any
	}{
		"status alone":         {"echo first >&2; echo all is well >&2", time.Minute, 0, "first all is well", 1},
		"answer":               {answer(`{"passed":true,"message":"7 of 7"}`), time.Minute, 0, "7 of 7", 1},
		"answer without pass":  {answer(`{"passed":false,"message":"6 of 7"}`), 2 * time.Second, protocol.ExitSmoke, "harmony-check-odd: 6 of 7", 0},
		"again until it holds": {"[ -e again ] && exit 0; touch again; exit 1", time.Minute, 0, "", 2},
		"final":                {answer(`{"passed":false,"message":"gone","final":true}`) + "exit 1", time.Minute, protocol.ExitSmoke, "exit status 1: gone", 1},
		"pass and fail":        {answer(`{"passed":true}`) + "exit 7", 2 * time.Second, protocol.ExitSmoke, "exit status 7", 0},
		"wrong settings":       {"echo no query >&2; exit 2", time.Minute, protocol.ExitInvalid, "exit status 2: no query", 1},
		"missing":              {"exit 3", time.Minute, protocol.ExitUnsupported, "exit status 3", 1},
		"passing reason":       {"[ -e again ] && exit 0; touch again; exit 4", time.Minute, 0, "", 2},
		"no answer":            {"echo hello", time.Minute, protocol.ExitSmoke, "did not answer with one CheckAnswer document: not a JSON object", 1},
		"another kind":         {`echo '{"apiVersion":"harmony.nationtech.io/v1","kind":"Weather"}'`, time.Minute, protocol.ExitSmoke, "it is kind Weather", 1},
		"two answers":          {answer(`{"passed":true}`) + answer(`{"passed":true}`), time.Minute, protocol.ExitSmoke, "did not answer with one", 1},
		"flood":                {"exec yes", time.Minute, protocol.ExitSmoke, "more than the 1048576 bytes", 1},
		"control characters":   {`printf '\033[31mred' >&2; exit 2`, time.Minute, protocol.ExitInvalid, "exit status 2: ", 1},
		"does not end":         {"sleep 60 & echo $! >child; sleep 60", 200 * time.Millisecond, protocol.ExitSmoke, "no answer in ", 1},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(folder, strings.ReplaceAll(name, " ", "-"), "harmony-check-odd")
			if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("#!/bin/sh\n"+c.script+"\n"), 0o755)); err != nil {
				t.Fatal(err)
			}
			report, err := other(t, path, nil, c.timeout, quick)
			if code := protocol.ExitCode(err); code != c.code {
				t.Fatalf("exit status %d (%v), want %d", code, err, c.code)
			}
			result := report.Checks[0]
			if !strings.Contains(result.Message, c.message) || strings.ContainsRune(result.Message, 0x1b) || result.Type != "odd" || len([]rune(result.Message)) > maxMessage+1 {
				t.Errorf("result %+v, want the message %q", result, c.message)
			}
			if c.attempts > 0 && result.Attempts != c.attempts {
				t.Errorf("%d attempts, want %d", result.Attempts, c.attempts)
			}
		})
	}
}

// The request has what the check needs to know, and no secret is near.
func TestOtherRequest(t *testing.T) {
	t.Setenv("SHOP_PASSWORD", "opensesame")
	folder := t.TempDir()
	path := filepath.Join(folder, "harmony-check-odd")
	if err := os.WriteFile(path, []byte("#!/bin/sh\ncat >"+folder+"/stdin; env >"+folder+"/environment; pwd >&2\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	report, err := other(t, path, map[string]any{"query": "a < b"}, time.Minute, quick)
	if err != nil || !strings.HasPrefix(report.Checks[0].Message, os.TempDir()) {
		t.Fatalf("%+v, %v", report, err)
	}
	line, err := os.ReadFile(filepath.Join(folder, "stdin"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := protocol.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	request, err := protocol.Decode[protocol.CheckRequest](document)
	if err != nil || request.Check != "strange" || request.Type != "odd" || request.Target != "edge" || request.Image != "sha256:abc" ||
		request.Settings["query"] != "a < b" || request.Attempt != 1 || request.Timeout <= 0 || request.Version != "1.4.0" {
		t.Errorf("%s: %v", line, err)
	}
	if environment, err := os.ReadFile(filepath.Join(folder, "environment")); err != nil || strings.Contains(string(environment), "opensesame") {
		t.Errorf("environment %s, %v", environment, err)
	}
}

// The example does what it says.
func TestOtherExample(t *testing.T) {
	path, err := filepath.Abs("../../examples/plugins/harmony-check-dns")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		settings map[string]any
		code     int
		message  string
	}{
		"resolves":       {map[string]any{"host": "127.0.0.1", "addresses": []any{"127.0.0.1"}}, 0, "127.0.0.1 is 127.0.0.1"},
		"to another":     {map[string]any{"host": "127.0.0.1", "addresses": []any{"203.0.113.7"}}, protocol.ExitSmoke, "127.0.0.1 is 127.0.0.1, expected 203.0.113.7"},
		"no such field":  {map[string]any{"host": "x", "adresses": []any{}}, protocol.ExitInvalid, "dns.adresses: there is no such field"},
		"without a host": {map[string]any{}, protocol.ExitInvalid, "dns.host: is required"},
	} {
		t.Run(name, func(t *testing.T) {
			report, err := other(t, path, c.settings, time.Minute, protocol.Duration(time.Hour))
			if code := protocol.ExitCode(err); code != c.code || len(report.Checks) == 0 || !strings.Contains(report.Checks[0].Message, c.message) {
				t.Errorf("%+v, %v; want status %d and %q", report, err, c.code, c.message)
			}
		})
	}
}

// Unknown kinds are found before anything is run.
func TestOtherUnknown(t *testing.T) {
	find := func(string) (string, error) {
		return "", protocol.Unsupported("no such kind").WithHint("did you mean http?")
	}
	c, err := New(&conn.Flags{}, find)(t.Context(), capability.Environment{DryRun: true, Progress: func(protocol.Event) {}, Topology: protocol.Topology{
		Targets: map[string]protocol.Target{"edge": {EdgeDevice: &protocol.EdgeDevice{Group: "vans"}}}, OCIRegistry: &protocol.Provider{Adapter: "oci", URL: "registry.example.com/fleet"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	app := appWith(protocol.SmokeCheck{Name: "strange", Other: map[string]map[string]any{"htpp": {}}})
	_, err = c.Check(t.Context(), app, "edge")
	if protocol.ExitCode(err) != protocol.ExitUnsupported || protocol.HintOf(err) != "did you mean http?" || !strings.Contains(err.Error(), "smoke check strange") {
		t.Errorf("got %v", err)
	}
}
