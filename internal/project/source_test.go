package project_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/pkg/protocol"
)

// monorepo is a repository with that many apps, each with a tag of its own but the last.
func monorepo(t *testing.T, count int) (apps []protocol.AppSpec) {
	t.Helper()
	dir := t.TempDir()
	for name, value := range map[string]string{"HOME": dir, "GIT_CONFIG_NOSYSTEM": "1"} {
		t.Setenv(name, value)
	}
	var script strings.Builder
	script.WriteString("set -e; git init -q; git config user.name a; git config user.email a@example.com\n")
	for i := range count {
		fmt.Fprintf(&script, "mkdir -p apps/%d; echo %[1]d >apps/%[1]d/file\n", i)
	}
	script.WriteString("git add .; git commit -q -m apps\n(\n")
	for i := range count - 1 {
		fmt.Fprintf(&script, "echo create refs/tags/app-%d-v1.%[1]d.0 HEAD\n", i)
	}
	script.WriteString(") | git update-ref --stdin; git commit -q --allow-empty -m more\n")
	cmd := exec.Command("sh", "-c", script.String())
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i := range count {
		apps = append(apps, protocol.AppSpec{Metadata: protocol.Metadata{Name: fmt.Sprintf("app-%d", i)}, ProjectRoot: filepath.Join(dir, "apps", fmt.Sprint(i))})
	}
	return apps
}

// busy keeps every processor busy until the test ends.
func busy(t *testing.T) {
	t.Helper()
	for range 4 * runtime.NumCPU() {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
}

// counted puts a git first on PATH that notes each run.
func counted(t *testing.T) (runs func() int) {
	t.Helper()
	real, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >>'%s/runs'\nexec '%s' \"$@\"\n", dir, real)
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() int {
		out, err := os.ReadFile(filepath.Join(dir, "runs"))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(out, []byte("\n"))
	}
}

// However many apps there are and however busy the machine is, git is asked a few times.
func TestVersionsOfAMonorepoUnderLoad(t *testing.T) {
	apps := monorepo(t, 120)
	runs := counted(t)
	busy(t)
	versioned, err := project.Source{}.WithVersions(t.Context(), apps)
	if err != nil {
		t.Fatal(err)
	}
	for i, app := range versioned {
		want := fmt.Sprintf("1.%d.1-dev.1.g", i)
		if i == len(apps)-1 {
			want = "0.0.0-dev.2.g"
		}
		if !strings.HasPrefix(app.Version, want) {
			t.Errorf("version of %s is %s, want %s…", app.Name, app.Version, want)
		}
	}
	if n := runs(); n > 8 {
		t.Errorf("git ran %d times", n)
	}
}
