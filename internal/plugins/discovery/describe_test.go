package discovery_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/pkg/protocol"
)

func script(t *testing.T, text string) discovery.Plugin {
	t.Helper()
	path := filepath.Join(t.TempDir(), "harmony-odd")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return discovery.Plugin{Name: "odd", Path: path}
}

// What is no answer to describe is told, and its output is bounded.
func TestDescribeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"exec yes":                  "more than 1048576 bytes",
		"exit 3":                    "exit status 3",
		"echo hello":                "did not answer describe with a PluginInfo",
		"echo":                      "did not answer describe with a PluginInfo",
		`echo '{"kind":"X"}'`:       "no apiVersion",
		"kill -9 $$":                "killed",
		"head -c 2000000 /dev/zero": "more than 1048576 bytes",
	} {
		_, err := discovery.Describer{}.Describe(t.Context(), script(t, text))
		if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// The answer is taken from the cache until the file changes.
func TestDescribeRemembers(t *testing.T) {
	asked := filepath.Join(t.TempDir(), "asked")
	answer := `{"apiVersion":"harmony.nationtech.io/v1","kind":"PluginInfo","metadata":{"name":"odd","version":"1.0.0"},"spec":{"protocol":{"min":1,"max":1},"stage":"odd"}}`
	p := script(t, "echo x >>"+asked+"\necho '"+answer+"'")
	d := discovery.Describer{Cache: t.TempDir()}
	times := func() int {
		data, err := os.ReadFile(asked)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(data), "x")
	}
	// A file that was changed a moment ago may not be remembered yet; how many
	// times it is asked depends on the machine.
	asks, remembered := 0, false
	for start := time.Now(); !remembered && time.Since(start) < 10*time.Second; asks = times() {
		info, err := d.Describe(t.Context(), p)
		if err != nil || info.Stage != "odd" {
			t.Fatalf("got %+v, %v", info, err)
		}
		remembered = times() == asks
	}
	if asks < 1 || !remembered {
		t.Errorf("asked %d times, remembered %v; want at least once, and then from the cache", asks, remembered)
	}
	data, err := os.ReadFile(p.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.Path, append(data, "# changed\n"...), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Describe(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if n := times(); n != asks+1 {
		t.Errorf("asked %d times after a change, want once more than %d", n, asks)
	}
}
