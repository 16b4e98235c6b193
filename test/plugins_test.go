package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/plugin/plugintest"
)

// The suite's own stages keep the contract that every plugin is held to.
func TestStagesKeepTheContract(t *testing.T) {
	folder := t.TempDir()
	names := []string{"harmony-build", "harmony-publish", "harmony-chart", "harmony-deploy", "harmony-smoke", "harmony-monitor"}
	args := []string{"build", "-o", folder, "../cmd/harmony", "../cmd/harmony-plugin", "../cmd/harmony-registry", "../cmd/harmony-devices"}
	for _, name := range names {
		args = append(args, "../cmd/"+name)
	}
	if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) { plugintest.Test(t, filepath.Join(folder, name)) })
	}
	t.Run("plain http", func(t *testing.T) { speakNoPlainHTTP(t, folder) })
	t.Run("documented commands", func(t *testing.T) { documentedCommands(t, folder) })
}

// So do the examples in other languages.
func TestExamplePluginsKeepTheContract(t *testing.T) {
	needs := map[string][]string{"harmony-smoke-python": {"python3"}, "harmony-smoke-sh": {"jq", "iconv"}, "harmony-check-dns": {"python3"}}
	for name, commands := range needs {
		t.Run(name, func(t *testing.T) {
			for _, command := range commands {
				if _, err := exec.LookPath(command); err != nil {
					if os.Getenv("CI") != "" {
						t.Fatalf("%s is not installed", command)
					}
					t.Skipf("%s is not installed", command)
				}
			}
			plugintest.Test(t, filepath.Join("..", "examples", "plugins", name))
		})
	}
}

// A kind of check that the Python example does not know is refused, and told.
func TestPythonSmokeRefusesOtherKinds(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("python3 is not installed")
		}
		t.Skip("python3 is not installed")
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join("..", "examples", "plugins", "harmony-smoke-python"))
	cmd.Stdin = strings.NewReader(`{"apiVersion":"harmony.nationtech.io/v1","kind":"AppSpec","metadata":{"name":"shop"},"spec":{"smoke":[{"name":"quiet","logs":{}}]}}
{"apiVersion":"harmony.nationtech.io/v1","kind":"DeployResult","metadata":{"name":"shop"},"spec":{"target":"staging"}}
`)
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "check 'quiet' is of a kind that smoke-python does not know") || strings.Contains(string(out), "SmokeReport") {
		t.Errorf("%v: %s", err, out)
	}
}
