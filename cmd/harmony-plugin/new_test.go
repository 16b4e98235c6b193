package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestNew(t *testing.T) {
	t.Chdir(t.TempDir())
	var stdout, stderr strings.Builder
	if code := run(t.Context(), []string{"new", "smoke-acme", "--language", "sh"}, &stdout, &stderr); code != 0 {
		t.Fatalf("status %d: %s", code, stderr.String())
	}
	info, err := os.Stat("harmony-smoke-acme/harmony-smoke-acme")
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, mode %v", err, info.Mode())
	}
	if stdout.String() != "wrote harmony-smoke-acme\n" || !strings.Contains(stderr.String(), "README.md") {
		t.Errorf("told %q and %q", stdout.String(), stderr.String())
	}
	stdout.Reset()
	folder := t.TempDir()
	if code := run(t.Context(), []string{"new", "harmony-smoke-acme", "-l", "python", "--directory", folder, "-o", "json"}, &stdout, &stderr); code != 0 {
		t.Fatalf("status %d: %s", code, stderr.String())
	}
	var told written
	if err := json.Unmarshal([]byte(stdout.String()), &told); err != nil || told.Folder != filepath.Join(folder, "harmony-smoke-acme") {
		t.Errorf("told %s, %v", stdout.String(), err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Chdir(t.TempDir())
	for args, want := range map[string]string{
		"new":                        "accepts 1 arg",
		"new build --language go":    "a command of harmony",
		"new harmony-status -l sh":   "a command of harmony",
		"new acme":                   "--language",
		"new ../acme --language go":  "cannot name",
		"new acme --language cobol":  "not one of go, python, sh",
		"new acme -l sh --output xy": "--output",
	} {
		var stdout, stderr strings.Builder
		code := run(t.Context(), strings.Fields(args), &stdout, &stderr)
		if code != protocol.ExitInvalid || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: status %d, %s; want %q", args, code, stderr.String(), want)
		}
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestReleased(t *testing.T) {
	for version, want := range map[string]string{"1.4.0": "1.4.0", "0.0.0-dev": "", "1.4.0-3-g0a1b2c3": "", "": "", "abc": ""} {
		if got := released(version); got != want {
			t.Errorf("%q: %q, want %q", version, got, want)
		}
	}
}
