package buildable

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/pkg/protocol"
)

// several are programs that share packages, of which one lacks one, and one has a module
// and another a profile of its own.
func several(t *testing.T) (string, []string) {
	files := maps.Clone(module)
	files["cmd/other/main.go"] = "package main\n\nimport \"example.com/demo/internal/say\"\n\nfunc main() { say.Hello(\"\") }\n"
	files["cmd/other/default.pgo"] = ""
	files["cmd/third/main.go"] = "package main\n\nfunc main() {}\n"
	files["own/go.mod"] = "module example.com/own\n\ngo 1.24\n"
	files["own/cmd/main.go"] = "package main\n\nfunc main() {}\n"
	dir := t.TempDir()
	write(t, dir, files)
	return dir, []string{"cmd/demo", "cmd/other", "cmd/third", "own/cmd"}
}

// countGo puts a go command first on PATH that writes a line for each start into a file.
func countGo(t *testing.T) (starts func() []string) {
	t.Helper()
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	log := filepath.Join(bin, "log")
	script := "#!/bin/sh\necho \"$1\" >>'" + log + "'\nexec '" + real + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return func() []string {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(log); err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(text))
	}
}

// each opens a source for each program.
func each(dir string, programs []string, together func([]protocol.AppSpec) *Together) []*golang {
	var all []*golang
	var apps []protocol.AppSpec
	for _, program := range programs {
		g := newGo(dir, "")
		g.source.Main = program
		g.options.App.Image.Buildable = &g.source
		all, apps = append(all, g), append(apps, g.options.App)
	}
	for _, g := range all {
		g.options.Together = together(apps)
		together = func([]protocol.AppSpec) *Together { return all[0].options.Together }
	}
	return all
}

func alone([]protocol.AppSpec) *Together { return nil }

// TestTogetherIsTheSame holds what is listed for many programs at once to what each lists
// by itself.
func TestTogetherIsTheSame(t *testing.T) {
	t.Setenv("GOFLAGS", "")
	starts := countGo(t)
	dir, programs := several(t)
	var want []string
	for _, g := range each(dir, programs, alone) {
		g.options.Memory = t.TempDir()
		want = append(want, digestOf(t, t.Context(), g))
	}
	single := len(starts())
	for i, g := range each(dir, programs, NewTogether) {
		if got := digestOf(t, t.Context(), g); got != want[i] {
			t.Errorf("%s: the inputs are not those of the program alone", programs[i])
		}
	}
	// For each of two modules: its settings, its list; and the replacements of one.
	if got := starts(); len(got) != 5 {
		t.Errorf("the go command was started %d times: %v; %d times for each alone", len(got), got, single)
	}
}

// TestTogetherWithAnInvalidProgram gives the error to the program that has it.
func TestTogetherWithAnInvalidProgram(t *testing.T) {
	t.Setenv("GOFLAGS", "")
	dir, programs := several(t)
	write(t, dir, map[string]string{"cmd/third/main.go": "package main\n\nimport _ \"example.com/demo/gone\"\n\nfunc main() {}\n"})
	for i, g := range each(dir, programs, NewTogether) {
		_, items, err := g.Inputs(t.Context())
		if invalid := programs[i] == "cmd/third"; (err != nil) != invalid {
			t.Errorf("%s: %v", programs[i], err)
		} else if invalid && !strings.Contains(err.Error(), "gone") {
			t.Errorf("the error does not name the package: %v", err)
		} else if !invalid && len(items) == 0 {
			t.Errorf("%s has no inputs", programs[i])
		}
	}
}

// TestTogetherKnowsEachPlatform lists a file for the platform that has it only.
func TestTogetherKnowsEachPlatform(t *testing.T) {
	t.Setenv("GOFLAGS", "")
	dir, programs := several(t)
	write(t, dir, map[string]string{"cmd/other/only_arm64.go": "package main\n"})
	all := each(dir, programs, NewTogether)
	all[1].options.Platforms[0].Architecture = "arm64"
	for i, want := range []bool{false, true} {
		_, items, err := all[i].Inputs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := hasItem(items, "example.com/demo/cmd/other/only_arm64.go"); got != want {
			t.Errorf("%s: file of arm64 listed: %t, want %t", programs[i], got, want)
		}
	}
}

func hasItem(items []inputs.Item, name string) bool {
	for _, item := range items {
		if item.Name == name {
			return true
		}
	}
	return false
}
