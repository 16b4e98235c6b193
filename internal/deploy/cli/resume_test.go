package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

// stepper is a remover that also lets rollouts go on.
type stepper struct{ remover }

func (stepper) ResumeSteps(_ context.Context, app protocol.AppSpec, target string, full bool) ([]string, error) {
	if target == "other" {
		return nil, protocol.Unsupported("app %s has nothing to resume", app.Name)
	}
	if full {
		return []string{"rollout/" + app.Name + ": promoted in full"}, nil
	}
	return []string{"rollout/" + app.Name + ": resumed"}, nil
}

func TestRolloutResume(t *testing.T) {
	for _, c := range []struct {
		args string
		able bool
		out  string
		code int
		err  string
	}{
		{"resume store --topology office --target staging", true, "rollout/store: resumed\n", protocol.ExitOK, ""},
		{"resume store --topology office --target staging --full", true, "rollout/store: promoted in full\n", protocol.ExitOK, ""},
		{"resume store --topology office --target other", true, "", protocol.ExitUnsupported, "app store has nothing to resume"},
		{"resume store --topology office --target staging", false, "", protocol.ExitUnsupported, `adapter "standin" of topology "office" cannot resume a rollout`},
		{"resume store --topology office", true, "", protocol.ExitInvalid, "no target given"},
		{"resume * --topology office --target staging", true, "", protocol.ExitInvalid, `"*" names 2 apps: name one`},
		{"resume store --topology acme --target staging", true, "", protocol.ExitUnsupported, "harmony-deploy-acme"},
	} {
		file := filepath.Join(t.TempDir(), "harmony.yaml")
		if err := os.WriteFile(file, []byte(fleetProject), 0o600); err != nil {
			t.Fatal(err)
		}
		var printed bytes.Buffer
		tools := Tools{
			Adapters: map[string]capability.Adapter[capability.ContinuousDelivery]{
				"standin": func(context.Context, capability.Environment) (capability.ContinuousDelivery, error) {
					r := remover{Unsupported: delivery.Unsupported("standin")}
					if c.able {
						return stepper{r}, nil
					}
					return r, nil
				},
			},
			Bind:    func(*pflag.FlagSet) {},
			Streams: command.Streams{Out: &printed, Err: io.Discard, Getenv: func(string) string { return "" }},
		}
		root := &cobra.Command{Use: "test", SilenceErrors: true, SilenceUsage: true}
		root.AddCommand(tools.rollout())
		root.SetArgs(append(append([]string{"rollout"}, strings.Fields(c.args)...), "--file", file))
		err := root.ExecuteContext(t.Context())
		if printed.String() != c.out || protocol.ExitCode(err) != c.code || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %q, %v, want %q, status %d, %q", c.args, printed.String(), err, c.out, c.code, c.err)
		}
	}
}
