package build_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// TestWhatASecretMayBe is of a harmony.yaml that asks for what is not the
// project's.
func TestWhatASecretMayBe(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, map[string]string{"sub/key": "k", "other": "o"})
	for name, test := range map[string]struct {
		secret, allowed string
		ok              bool
	}{
		"a file of the project":         {"file:a", "-", true},
		"one outside":                   {"file:OUTSIDE/sub/key", "-", false},
		"one above":                     {"file:../../etc/passwd", "-", false},
		"a link to one outside":         {"file:link", "-", false},
		"allowed":                       {"file:OUTSIDE/sub/key", "X,OUTSIDE/sub/key", true},
		"in an allowed folder":          {"file:OUTSIDE/sub/key", "OUTSIDE/sub", true},
		"beside what is allowed":        {"file:OUTSIDE/other", "OUTSIDE/sub", false},
		"out of an allowed folder":      {"file:OUTSIDE/sub/../other", "OUTSIDE/sub", false},
		"a link to what is allowed":     {"file:link", "OUTSIDE/sub/key", true},
		"a variable":                    {"env:NPM_TOKEN", "-", true},
		"a variable that is listed":     {"env:NPM_TOKEN", "OTHER,NPM_TOKEN", true},
		"one that is not":               {"env:NPM_TOKEN", "OTHER", false},
		"none is listed":                {"env:NPM_TOKEN", "", false},
		"harmony's password":            {"env:HARMONY_REGISTRY_PASSWORD", "-", false},
		"harmony's password, if listed": {"env:HARMONY_REGISTRY_PASSWORD", "HARMONY_REGISTRY_PASSWORD", false},
	} {
		for _, field := range []string{"secrets", "ssh"} {
			t.Run(name+", "+field, func(t *testing.T) {
				app, b := demo(t), &builds{}
				t.Setenv("NPM_TOKEN", filepath.Join(outside, "other"))
				t.Setenv("HARMONY_REGISTRY_PASSWORD", "x")
				if err := os.Symlink(filepath.Join(outside, "sub/key"), filepath.Join(app.ProjectRoot, "link")); err != nil {
					t.Fatal(err)
				}
				if test.allowed != "-" {
					t.Setenv("HARMONY_BUILD_SECRETS", strings.ReplaceAll(test.allowed, "OUTSIDE", outside))
				}
				wanted := map[string]string{"x": strings.ReplaceAll(test.secret, "OUTSIDE", outside)}
				if app.Image.Dockerfile.Secrets = wanted; field == "ssh" {
					app.Image.Dockerfile.Secrets, app.Image.Dockerfile.SSH = nil, wanted
				}
				_, err := newStage(t).build(t.Context(), b.adapter(nil), app)
				if test.ok && err != nil || !test.ok && (protocol.ExitCode(err) != protocol.ExitInvalid || len(b.requests) > 0 || !strings.Contains(err.Error(), "dockerfile."+field+".x: ")) {
					t.Errorf("status %d, %v", protocol.ExitCode(err), err)
				}
			})
		}
	}
}
