package auto_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/build/auto"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// outcome is a candidate that always ends in the same way.
type outcome struct{ open, build error }

func (o outcome) BuildImage(_ context.Context, app protocol.AppSpec) (protocol.ImageRef, error) {
	return protocol.ImageRef{Metadata: app.Metadata, Repository: app.Name}, o.build
}

func candidate(name string, o outcome, opened *[]string) auto.Candidate {
	return auto.Candidate{Name: name, New: func(_ context.Context, env capability.Environment) (capability.ContainerBuilder, error) {
		*opened = append(*opened, env.Provider.Adapter)
		for key := range env.Provider.Settings {
			*opened = append(*opened, key)
		}
		return o, o.open
	}}
}

func TestBuildImage(t *testing.T) {
	refused := protocol.Unsupported("Dockerfile:3: RUN needs a builder").WithHint("start docker")
	absent := protocol.Unsupported("no daemon at /run/docker.sock").WithHint("start docker")
	broken := errors.New("exit status 1")
	tests := []struct {
		name   string
		a, b   outcome
		opened string
		err    string
		code   int
		hint   string
	}{
		{name: "the first can", opened: "a x"},
		{name: "the second can", a: outcome{build: refused}, opened: "a x b"},
		{name: "the first is not there", a: outcome{open: absent}, opened: "a x b"},
		{name: "a failed build is not tried elsewhere", a: outcome{build: broken}, opened: "a x", err: "exit status 1", code: protocol.ExitFailed},
		{name: "none can", a: outcome{build: refused}, b: outcome{open: absent}, opened: "a x b",
			err: "no adapter can build fleet; tried:\n  a: Dockerfile:3: RUN needs a builder\n  b: no daemon at /run/docker.sock", code: protocol.ExitUnsupported, hint: "start docker"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var opened []string
			env := capability.Environment{Provider: protocol.Provider{Adapter: "auto", Settings: map[string]any{"a": map[string]any{"x": 1}}}}
			builder, err := auto.New(candidate("a", test.a, &opened), candidate("b", test.b, &opened))(t.Context(), env)
			if err != nil {
				t.Fatal(err)
			}
			app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "fleet"}}
			for range 2 { // an adapter is opened once
				_, err = builder.BuildImage(t.Context(), app)
			}
			if got := strings.Join(opened, " "); got != test.opened {
				t.Errorf("opened %q, want %q", got, test.opened)
			}
			if test.err == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || err.Error() != test.err || protocol.ExitCode(err) != test.code || protocol.HintOf(err) != test.hint {
				t.Errorf("got %v, exit %d, hint %q", err, protocol.ExitCode(err), protocol.HintOf(err))
			}
		})
	}
}

func TestSettings(t *testing.T) {
	for settings, want := range map[string]string{"buildkti": `did you mean "buildkit"? known settings: buildkit`, "buildkit": ""} {
		env := capability.Environment{Provider: protocol.Provider{Settings: map[string]any{settings: "tcp://host"}}}
		var opened []string
		_, err := auto.New(candidate("buildkit", outcome{}, &opened))(t.Context(), env)
		if protocol.ExitCode(err) != protocol.ExitInvalid || protocol.HintOf(err) != want {
			t.Errorf("%s: got %v, hint %q", settings, err, protocol.HintOf(err))
		}
	}
}
