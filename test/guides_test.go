package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/index"
)

// What the guides show of Go compiles, and what they show of YAML is valid.
func TestProgramsOfTheGuides(t *testing.T) {
	dir := t.TempDir()
	module, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, guide := range []string{"app-plugins", "writing-an-adapter"} {
		found := 0
		for _, block := range blocksOf(t, "../docs/"+guide+".md", "go") {
			if !strings.HasPrefix(block, "package main\n") {
				continue
			}
			found++
			folder := filepath.Join(dir, guide)
			if err := os.Mkdir(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{"main.go": block, "go.mod": "module example.com/" + guide + "\n\ngo 1.26\n"} {
				if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			folders = append(folders, "./"+guide)
		}
		if found != 1 {
			t.Errorf("%s has %d programs, want one", guide, found)
		}
	}
	for _, args := range [][]string{append([]string{"work", "init", module}, folders...), append([]string{"vet"}, folders...)} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("go %s: %v\n%s", args[0], err, out)
		}
	}
}

func TestConfigurationOfTheGuides(t *testing.T) {
	files, err := filepath.Glob("../docs/writing-*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		for _, block := range blocksOf(t, file, "yaml") {
			switch {
			case !strings.HasPrefix(block, "apiVersion: "):
				continue
			case strings.Contains(block, "\nkind: Plugin\n"):
				var manifest index.Manifest
				if manifest, err = index.Parse("backup.yaml", []byte(block)); err == nil && manifest.Name != "backup" {
					t.Errorf("manifest of %q", manifest.Name)
				}
			default:
				path := filepath.Join(t.TempDir(), config.FileName)
				if err := os.WriteFile(path, []byte(block), 0o600); err != nil {
					t.Fatal(err)
				}
				_, err = config.Load(path)
			}
			if found++; err != nil {
				t.Errorf("%s: %v\n%s", file, err, block)
			}
		}
	}
	if found != 3 {
		t.Errorf("%d documents were found, want 3", found)
	}
}
