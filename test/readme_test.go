package test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/schemas"
)

// blocks returns the fenced blocks of the README in a language.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	return blocksOf(t, "../README.md", language)
}

func blocksOf(t *testing.T, file, language string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, part := range strings.Split(string(text), "\n```"+language+"\n")[1:] {
		block, _, _ := strings.Cut(part, "\n```")
		list = append(list, block+"\n")
	}
	return list
}

func TestReadmeConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "harmony.yaml")
	if err := os.WriteFile(file, []byte(blocks(t, "yaml")[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	project, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(project.Apps) != 1 || project.Apps[0].Name != "hello" {
		t.Errorf("apps %v", project.Names())
	}
}

func TestReadmeWorkflow(t *testing.T) {
	workflow := blocks(t, "yaml")[1]
	if lines := strings.Count(workflow, "\n"); lines > 16 {
		t.Errorf("the workflow of about fifteen lines has %d", lines)
	}
	var parsed map[string]any
	if err := yaml.Unmarshal([]byte(workflow), &parsed); err != nil {
		t.Error(err)
	}
}

func TestReadmePlugin(t *testing.T) {
	if _, err := exec.LookPath("jq"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("jq is missing")
		}
		t.Skip("needs jq")
	}
	plugin := filepath.Join(t.TempDir(), "harmony-announce")
	if err := os.WriteFile(plugin, []byte(blocks(t, "sh")[0]), 0o755); err != nil {
		t.Fatal(err)
	}
	described, err := exec.Command(plugin, "describe").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := schemas.Validate(bytes.TrimSpace(described)); err != nil {
		t.Errorf("describe: %v", err)
	}
	const stream = `{"apiVersion":"harmony.nationtech.io/v1","kind":"DeployResult","metadata":{"name":"hello"},"spec":{"target":"staging","outcome":"installed"}}
{ "apiVersion":"x/v9","kind":"Odd\\name" }
{"apiVersion":"harmony.nationtech.io/v1","kind":"Failure","metadata":{"name":"other"},"spec":{"code":4}}
`
	cmd := exec.Command(plugin)
	cmd.Stdin = strings.NewReader(stream)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 4 {
		t.Errorf("%v, want exit status 4", err)
	}
	if stdout.String() != stream || stderr.String() != "hello: installed on staging\n" {
		t.Errorf("stdout %q, stderr %q", stdout.String(), stderr.String())
	}
}
