package scaffold_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/scaffold"
	"github.com/nationtech/harmony/pkg/plugin/plugintest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// needs are the commands that a plugin in a language needs.
func needs(t *testing.T, language string) {
	t.Helper()
	for _, command := range map[string][]string{"python": {"python3"}, "sh": {"jq", "iconv", "curl"}}[language] {
		if _, err := exec.LookPath(command); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed", command)
			}
			t.Skipf("%s is not installed", command)
		}
	}
}

// generate writes a plugin and returns its executable: of one in Go, built with
// the harmony of this tree.
func generate(t *testing.T, language string) string {
	t.Helper()
	needs(t, language)
	dir := t.TempDir()
	folder, err := scaffold.Plugin{Name: "acme", Language: language}.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	if language == "go" {
		module, err := filepath.Abs(filepath.Join("..", "..", ".."))
		if err != nil {
			t.Fatal(err)
		}
		inWorkspace := exec.CommandContext(t.Context(), "go", "work", "init", folder, module)
		inWorkspace.Dir = dir
		if out, err := inWorkspace.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, args := range [][]string{{"vet", "."}, {"build", "."}} {
			cmd := exec.CommandContext(t.Context(), "go", args...)
			cmd.Dir = folder
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("go %s: %v\n%s", args[0], err, out)
			}
		}
	}
	return filepath.Join(folder, "harmony-acme")
}

// describe asks the plugin who it is. An interpreter that starts for the first time on a
// busy machine can miss the five seconds, so it may be asked again for a minute.
func describe(t *testing.T, plugin string) (info protocol.PluginInfo, err error) {
	for deadline := time.Now().Add(time.Minute); ; {
		info, err = discovery.Describer{}.Describe(t.Context(), discovery.Plugin{Name: "acme", Path: plugin})
		if err == nil || time.Now().After(deadline) {
			return info, err
		}
	}
}

// What is written is a smoke stage that keeps the contract, checks what it
// knows, and does not let pass what it does not know.
func TestNewPlugins(t *testing.T) {
	for _, language := range scaffold.Languages() {
		// One after the other: a plugin has to answer within seconds, and the compiler of
		// the one in Go takes the whole machine.
		t.Run(language, func(t *testing.T) {
			plugin := generate(t, language)
			info, err := describe(t, plugin)
			if err != nil || info.Stage != "smoke" || info.Name != "acme" {
				t.Errorf("describe answers %+v, %v", info, err)
			}
			plugintest.Test(t, plugin)
			t.Run("checks", func(t *testing.T) { runChecks(t, plugin) })
		})
	}
}

// runChecks has the plugin run checks of a server of the test's own.
func runChecks(t *testing.T, plugin string) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/up" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(server.Close)
	up := fmt.Sprintf(`{"name":"up","http":{"url":%q,"path":"/up","expect":{"status":200}},"timeout":"5s"}`, server.URL)
	for name, test := range map[string]struct {
		checks   string
		args     []string
		code     int
		statuses []protocol.CheckStatus
		want     string
	}{
		"passes":       {up, nil, 0, []protocol.CheckStatus{"passed"}, ""},
		"in a row":     {strings.Replace(up, `"http"`, `"successes":2,"interval":"100ms","http"`, 1), nil, 0, []protocol.CheckStatus{"passed"}, ""},
		"fails":        {fmt.Sprintf(`{"name":"down","http":{"url":%q,"expect":{}},"timeout":"1s","interval":"100ms"},`, server.URL) + up, nil, protocol.ExitSmoke, []protocol.CheckStatus{"failed", "skipped"}, "status 503"},
		"unknown":      {`{"name":"a","rollout":{}}`, nil, protocol.ExitSmoke, []protocol.CheckStatus{"failed"}, "know"},
		"half known":   {strings.Replace(up, `"path"`, `"method":"POST","path"`, 1), nil, protocol.ExitSmoke, []protocol.CheckStatus{"failed"}, "know"},
		"in a dry run": {up, []string{"--dry-run"}, 0, []protocol.CheckStatus{"skipped"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const id = `"metadata":{"name":"shop","version":"1.0.0"}`
			const head = `{"apiVersion":"harmony.nationtech.io/v1","kind":`
			stdin := head + `"Topology","metadata":{"name":"x"},"spec":{"targets":{"staging":{"inCluster":{"namespace":"x"}}}}}
` + head + `"AppSpec",` + id + `,"spec":{"image":{"buildable":{"type":"go"}},"chart":{"path":"c","image":{"value":"image"}},"smoke":[` + test.checks + `]}}
` + head + `"DeployResult",` + id + `,"spec":{"target":"staging","adapter":"helm","outcome":"installed","image":"","chart":""}}
`
			cmd := exec.CommandContext(t.Context(), plugin, append(test.args, "--output", "json")...)
			cmd.Stdin = strings.NewReader(stdin)
			var out, messages bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &messages
			if _ = cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != test.code {
				t.Fatalf("%v, want status %d\n%s%s", cmd.ProcessState, test.code, out.String(), messages.String())
			}
			report := reportIn(t, &out)
			var statuses []protocol.CheckStatus
			for _, c := range report.Checks {
				statuses = append(statuses, c.Status)
			}
			if !slices.Equal(statuses, test.statuses) || report.Passed != (test.code == 0) {
				t.Errorf("report %+v, want %v", report, test.statuses)
			}
			if !strings.Contains(report.Checks[0].Message, test.want) {
				t.Errorf("message %q, want %q", report.Checks[0].Message, test.want)
			}
		})
	}
}

// reportIn is the SmokeReport of a stream.
func reportIn(t *testing.T, stream *bytes.Buffer) protocol.SmokeReport {
	t.Helper()
	reader := protocol.NewReader(stream)
	for {
		d, err := reader.Next()
		if err != nil {
			t.Fatalf("no SmokeReport: %v", err)
		}
		if d.Kind != protocol.KindSmokeReport {
			continue
		}
		report, err := protocol.Decode[protocol.SmokeReport](d)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/nonexistent", filepath.Join(dir, "harmony-link")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, language, dir, want string }{
		{"", "go", dir, "cannot name"},
		{"../x", "go", dir, "cannot name"},
		{"Acme", "go", dir, "cannot name"},
		{"acme", "cobol", dir, "go, python, sh"},
		{"acme", "", dir, "go, python, sh"},
		{"link", "go", dir, "already"},
		{"acme", "go", filepath.Join(dir, "absent"), "no such file"},
	} {
		if _, err := (scaffold.Plugin{Name: test.name, Language: test.language}).Write(test.dir); protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v", test, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestVersionOfHarmony(t *testing.T) {
	for version, want := range map[string]string{"": "harmony@latest\n", "1.4.0": "harmony@v1.4.0\n"} {
		folder, err := scaffold.Plugin{Name: "acme", Language: "go", Harmony: version}.Write(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(folder, "README.md"))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%v: no %q in\n%s", err, want, text)
		}
	}
}
