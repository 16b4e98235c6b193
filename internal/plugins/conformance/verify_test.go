package conformance_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/plugins/conformance"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/plugin/plugintest"
	"github.com/nationtech/harmony/pkg/plugin/signals"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The test program is a smoke plugin when it is called so.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "harmony-good" {
		ctx, stop := signals.Context(context.Background())
		defer stop()
		stage := plugin.Smoke("1.0.0", func(context.Context, capability.Environment) (capability.Checker, error) { return checker{}, nil })
		stage.Plugin = "good"
		os.Exit(command.Main(ctx, stage, command.Standard(), os.Args[1:]))
	}
	os.Exit(m.Run())
}

type checker struct{}

func (checker) Check(_ context.Context, app protocol.AppSpec, target string) (protocol.SmokeReport, error) {
	return protocol.SmokeReport{Metadata: app.Metadata, Target: target, Passed: true}, nil
}

func good(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "harmony-good")
	if err := os.Link(self, path); err != nil {
		data, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestGoodPlugin(t *testing.T) { plugintest.Test(t, good(t)) }

// Each script is the good plugin with one fault, and has to fail the check.
func TestFaultsAreSeen(t *testing.T) {
	path := good(t)
	tests := []struct{ check, script string }{
		{"describe", `"$GOOD" "$@"; [ "$1" != describe ] || "$GOOD" describe`},
		{"describe", `[ "$1" != describe ] || { echo '{}'; exit 0; }; exec "$GOOD" "$@"`},
		{"pass-through", `"$GOOD" "$@" | sed 's/ , /,/'`},
		{"pass-through", `"$GOOD" "$@" | grep -v Weather`},
		{"failed-app", `"$GOOD" "$@"; code=$?; echo '{"apiVersion":"harmony.nationtech.io/v1","kind":"SmokeReport","metadata":{"name":"conformance"},"spec":{}}'; exit $code`},
		{"exit-status", `"$GOOD" "$@" || exit 1`},
		{"own-failure", `cat; exit 1`},
		{"own-failure", `"$GOOD" "$@"; exit 0`},
		{"exit-status", `"$GOOD" "$@"; code=$?; [ $code != 1 ] || exit 0; exit $code`},
		{"own-failure", `cat; echo '{"apiVersion":"harmony.nationtech.io/v1","kind":"Failure","metadata":{"name":""},"spec":{"stage":"x","code":512,"message":"m"}}'; exit 0`},
		{"several-images", `[ "$1" != describe ] || { "$GOOD" describe | sed 's/"stage":"smoke"/"stage":"deploy"/'; exit 0; }; cat`},
		{"no-input", `"$GOOD" "$@"; exit 0`},
		{"garbage", `"$GOOD" "$@" || exit 1`},
		{"garbage", `"$GOOD" "$@" | grep -v Failure; exit 2`},
		{"oversized", `cat`},
		{"large", `"$GOOD" "$@" | head -c 1000000`},
		{"closed-stdout", `trap '' PIPE; cat >/dev/null; exit 0`},
		{"sigterm", `trap 'exit 0' TERM; cat & wait`},
		{"sigint", `trap 'exit 0' INT; cat & wait`},
		{"events", `echo hello >&3; exec "$GOOD" "$@"`},
		{"stdout", `echo hello; exec "$GOOD" "$@"`},
		{"secrets", `echo "$CONFORMANCE_TOKEN" >&2; exec "$GOOD" "$@"`},
		{"control-characters", `printf '\033[31m' >&2; exec "$GOOD" "$@"`},
	}
	for _, test := range tests {
		t.Run(test.check, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "harmony-good")
			script := "#!/bin/sh\nGOOD=" + path + "\n" + test.script + "\n"
			if err := os.WriteFile(file, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			results, err := conformance.Verify(t.Context(), file, "pass-through", test.check)
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(results, func(r conformance.Result) bool { return r.Check == test.check })
			if i < 0 {
				t.Fatalf("no check %s", test.check)
			}
			if r := results[i]; r.Passed || strings.TrimSpace(r.Detail) == "" {
				t.Errorf("the fault was not seen: %+v", r)
			}
		})
	}
}

func TestNoPlugin(t *testing.T) {
	folder := t.TempDir()
	for _, path := range []string{filepath.Join(folder, "harmony-none"), folder} {
		if _, err := conformance.Verify(t.Context(), path); protocol.ExitCode(err) != protocol.ExitInvalid {
			t.Errorf("%s: got %v", path, err)
		}
	}
}
