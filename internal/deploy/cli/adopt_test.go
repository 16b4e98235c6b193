package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

// adopter notes what it is asked for.
type adopter struct {
	delivery.Unsupported
	env   capability.Environment
	calls *[]string
}

func (a adopter) note(call string) {
	if a.env.DryRun {
		call = "planned " + call
	}
	*a.calls = append(*a.calls, strings.TrimSpace(call+" "+string(a.env.Adopt)))
}

func (a adopter) Deploy(_ context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, _ protocol.ChartRef) (protocol.DeployResult, error) {
	a.note("deploy")
	return protocol.DeployResult{
		Metadata: app.Metadata, Target: target, Adapter: "standin", Outcome: protocol.OutcomeUpgraded, Adopted: "helm", Image: image.Digest, Planned: a.env.DryRun,
	}, nil
}

func (a adopter) GiveBack(_ context.Context, app protocol.AppSpec, target string) (protocol.DeployResult, error) {
	a.note("give back")
	return protocol.DeployResult{Metadata: app.Metadata, Target: target, Adapter: "standin", Outcome: protocol.OutcomeGivenBack, Planned: a.env.DryRun}, nil
}

func (a adopter) Diff(context.Context, protocol.AppSpec, string, protocol.ImageRef, protocol.ChartRef) ([]difference.Object, error) {
	a.note("diff")
	return nil, nil
}

// runAdopt runs the command on the documents of one app, or without any.
func runAdopt(t *testing.T, piped bool, args ...string) (string, []string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "harmony.yaml")
	if err := os.WriteFile(file, []byte(fleetProject), 0o600); err != nil {
		t.Fatal(err)
	}
	var in, printed bytes.Buffer
	if piped {
		of := protocol.Metadata{Name: "store", Version: "1.0.0"}
		w := protocol.NewWriter(&in)
		for _, d := range []protocol.Spec{protocol.AppSpec{Metadata: of}, protocol.ImageRef{Metadata: of, Digest: "sha256:aa"}, protocol.ChartRef{Metadata: of, Digest: "sha256:bb"}} {
			if err := w.WriteSpec(d); err != nil {
				t.Fatal(err)
			}
		}
	}
	var calls []string
	tools := Tools{
		Adapters: map[string]capability.Adapter[capability.ContinuousDelivery]{
			"standin": func(_ context.Context, env capability.Environment) (capability.ContinuousDelivery, error) {
				return adopter{"standin", env, &calls}, nil
			},
		},
		Bind:    func(*pflag.FlagSet) {},
		Streams: command.Streams{In: &in, Out: &printed, Err: io.Discard, Getenv: func(string) string { return "" }},
	}
	root := &cobra.Command{Use: "test", SilenceErrors: true, SilenceUsage: true}
	for _, option := range tools.Options() {
		option(root)
	}
	root.SetArgs(append([]string{"adopt", "--file", file, "--topology", "office", "--target", "staging"}, args...))
	err := root.ExecuteContext(t.Context())
	return printed.String(), calls, err
}

func TestAdoptCommand(t *testing.T) {
	for _, c := range []struct {
		args  []string
		calls []string
		says  string
	}{
		{[]string{"--yes"}, []string{"planned diff same-chart", "deploy same-chart"}, "store 1.0.0 on staging: upgraded, adopted from helm\n"},
		{[]string{"--yes", "--any-chart", "-o", "json"}, []string{"deploy any-chart"}, `"adopted":"helm"`},
		{[]string{"--dry-run"}, []string{"planned diff same-chart", "planned deploy same-chart"}, "would upgrade, adopted from helm\n"},
		{[]string{"store", "--release", "--yes"}, []string{"give back same-chart"}, "on staging: given back\n"},
		{[]string{"store", "--release", "--dry-run"}, []string{"planned give back same-chart"}, "on staging: would give back\n"},
	} {
		out, calls, err := runAdopt(t, true, c.args...)
		if err != nil || !slices.Equal(calls, c.calls) || !strings.Contains(out, c.says) {
			t.Errorf("%v: %v, %v\n%s", c.args, calls, err, out)
		}
	}
}

func TestAdoptCommandRefuses(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--release", "--yes"}, protocol.ExitInvalid, "name the apps"},
		{[]string{"store", "--release", "--any-chart"}, protocol.ExitInvalid, "--any-chart are not for it"},
		{[]string{"store", "--release"}, protocol.ExitInvalid, "there is no terminal"},
		{[]string{"store", "-o", "yaml"}, protocol.ExitInvalid, "yaml"},
		{[]string{"store", "--release", "--yes", "--topology", "acme"}, protocol.ExitUnsupported, "harmony-deploy-acme"},
	} {
		_, calls, err := runAdopt(t, false, c.args...)
		if protocol.ExitCode(err) != c.code || err == nil || !strings.Contains(err.Error(), c.says) || len(calls) > 0 {
			t.Errorf("%v: status %d, %v, %v", c.args, protocol.ExitCode(err), calls, err)
		}
	}
}
