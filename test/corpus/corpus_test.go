// Package corpus runs harmony init on small repositories of the shapes that are out
// there. Each folder here has one in repo, and the harmony.yaml that init writes for it, or
// the error in error; args has init's flags.
package corpus

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/config"
)

const (
	repositories = 14
	maxLines     = 15
)

// build builds the two programs that init needs.
func build(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	cmd := exec.Command("go", "build", "-o", bin+"/", "./cmd/harmony", "./cmd/harmony-chart")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// Of each repository init makes the same few lines, which load, and whose charts render
// with the image in them: the exit status says so.
func TestInit(t *testing.T) {
	bin := build(t)
	folders, err := filepath.Glob("*/repo")
	if err != nil || len(folders) != repositories {
		t.Fatalf("%d repositories, %v; want %d", len(folders), err, repositories)
	}
	for _, folder := range folders {
		name := filepath.Dir(folder)
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), name)
			if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
				t.Fatal(err)
			}
			flags, _ := os.ReadFile(filepath.Join(name, "args")) // most have none
			cmd := exec.Command(filepath.Join(bin, "harmony"), append([]string{"init"}, strings.Fields(string(flags))...)...)
			cmd.Dir = dir
			cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "KUBECONFIG=" + os.DevNull}
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			if _, missing := os.Stat(filepath.Join(name, "error")); missing == nil {
				compare(t, filepath.Join(name, "error"), stderr.Bytes())
				if _, left := os.Stat(filepath.Join(dir, config.FileName)); left == nil || cmd.ProcessState.ExitCode() != 2 {
					t.Errorf("%v, want exit status 2 and no %s", err, config.FileName)
				}
				return
			}
			switch {
			case strings.Contains(stdout.String(), "next: harmony lock, and then: "): // charts of others
			case err != nil || !strings.Contains(stdout.String(), "its charts render, and use the images\n"):
				t.Errorf("%v\n%s%s", err, &stdout, &stderr)
			}
			check(t, name, filepath.Join(dir, config.FileName))
		})
	}
}

// check looks at what was written.
func check(t *testing.T, name, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, filepath.Join(name, config.FileName), text)
	lines := 0
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines++
		}
	}
	if lines > maxLines {
		t.Errorf("%d lines, at most %d", lines, maxLines)
	}
	if _, err := config.Load(file); err != nil {
		t.Error(err)
	}
}

// compare compares with the golden file; HARMONY_TEST_UPDATE=1 rewrites it.
func compare(t *testing.T, file string, got []byte) {
	t.Helper()
	if os.Getenv("HARMONY_TEST_UPDATE") != "" {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs:\n%s\nwant:\n%s", file, got, want)
	}
}
