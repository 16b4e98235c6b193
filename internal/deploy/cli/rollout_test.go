package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/cluster/waves"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// inWaves is an adapter with the record of a rollout.
type inWaves struct {
	capability.ContinuousDelivery
	delivery.Unsupported
	record *waves.Record
	back   *bool
}

func (w inWaves) Rollout(_ context.Context, _ protocol.AppSpec, _ string, change func(*waves.Record, time.Time) error) (*waves.Record, error) {
	if change == nil {
		return w.record, nil
	}
	return w.record, change(w.record, noon)
}

func (w inWaves) TakeRolloutBack(_ context.Context, app protocol.AppSpec, target string, _ func(protocol.DeployResult)) (protocol.DeployResult, error) {
	*w.back = true
	return protocol.DeployResult{Metadata: protocol.Metadata{Name: app.Name, Version: "1.4.0"}, Target: target, Outcome: protocol.OutcomeRolledBack, Clusters: &protocol.ClusterCount{Total: 1, RolledBack: 1}}, nil
}

// runRollout runs the command on a rollout, nil for none.
func runRollout(t *testing.T, record *waves.Record, args ...string) (out string, back bool, err error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "harmony.yaml")
	text := strings.Replace(fleetProject, "{inCluster: {context: office, namespace: fleet}}", "{multiCluster: {contexts: [office], namespace: fleet}}", 1)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	tools := Tools{
		Adapters: map[string]capability.Adapter[capability.ContinuousDelivery]{
			"standin": func(context.Context, capability.Environment) (capability.ContinuousDelivery, error) {
				return inWaves{record: record, back: &back}, nil
			},
		},
		Bind:    func(*pflag.FlagSet) {},
		Streams: command.Streams{In: strings.NewReader(""), Out: &printed, Err: io.Discard, Getenv: func(string) string { return "" }},
	}
	root := &cobra.Command{Use: "test", SilenceErrors: true, SilenceUsage: true}
	for _, option := range tools.Options() {
		option(root)
	}
	root.SetArgs(append([]string{"rollout"}, args...))
	if len(args) > 1 {
		root.SetArgs(append([]string{"rollout"}, append([]string{args[0], "--file", file, "--topology", "office", "--target", "staging"}, args[1:]...)...))
	}
	err = root.ExecuteContext(t.Context())
	return printed.String(), back, err
}

func TestRolloutCommand(t *testing.T) {
	until := noon.Add(time.Hour)
	of := func(s waves.State, by string) *waves.Record {
		return &waves.Record{App: "store", Target: "staging", Version: "1.4.0", State: s, By: by, Since: noon, Done: 1, Waves: 3, Upgraded: []string{"eu-1"}}
	}
	waiting := of(waves.Waiting, "")
	waiting.Until = &until
	for _, c := range []struct {
		record *waves.Record
		args   []string
		says   string
	}{
		{nil, []string{"status", "store"}, "store on staging: no rollout\n"},
		{nil, []string{"status", "store", "-o", "json"}, "null\n"},
		{of(waves.Rolling, ""), []string{"status", "store"}, "store 1.4.0 on staging: in wave 2 of 3\nupgraded by it: eu-1\n"},
		{of(waves.Paused, "ann@desk"), []string{"status", "store"}, "paused after wave 1 of 3 by ann@desk at 2026-11-28T12:00:00Z"},
		{of(waves.Paused, "ann@desk"), []string{"status", "store"}, "harmony rollout resume store --target staging"},
		{of(waves.Paused, "ann@desk"), []string{"status", "store", "-o", "json"}, `{"app":"store","target":"staging","version":"1.4.0","state":"paused","since":"2026-11-28T12:00:00Z","done":1,"waves":3,"by":"ann@desk","upgraded":["eu-1"]}`},
		{of(waves.Paused, "ann@desk"), []string{"resume", "store"}, "in wave 2 of 3"},
		{of(waves.Aborted, "ann@desk"), []string{"resume", "store"}, "in wave 2 of 3"},
		{of(waves.Rolling, ""), []string{"pause", "store"}, "paused after wave 1 of 3 by "},
		{waiting, []string{"resume", "store", "-o", "json"}, `"state":"rolling","since":"2026-11-28T12:00:00Z","done":1,"waves":3,"until":"2026-11-28T12:00:00Z"`},
		{of(waves.Failed, ""), []string{"abort", "store"}, "harmony rollout abort store --target staging --take-back"},
		{of(waves.Rolling, ""), []string{"abort", "store", "--take-back"}, "store 1.4.0 on staging: rolled-back"},
	} {
		out, back, err := runRollout(t, c.record, c.args...)
		if err != nil || !strings.Contains(out, c.says) || back != strings.HasPrefix(c.says, "store 1.4.0 on staging: rolled") {
			t.Errorf("%v: %v, taken back %t\n%s", c.args, err, back, out)
		}
	}
}

func TestRolloutCommandRefuses(t *testing.T) {
	done := func() *waves.Record {
		return &waves.Record{App: "store", Target: "staging", Version: "1.4.0", State: waves.Done, Since: noon, Done: 3, Waves: 3}
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{nil, protocol.ExitInvalid, "status, resume, pause or abort"},
		{[]string{"restart"}, protocol.ExitInvalid, `rollout "restart" is not one of`},
		{[]string{"status", "*"}, protocol.ExitInvalid, "names 2 apps"},
		{[]string{"status", "store", "-o", "yaml"}, protocol.ExitInvalid, "yaml"},
		{[]string{"pause", "store"}, protocol.ExitUnsupported, "nothing to pause: the rollout of store 1.4.0 to staging is done at"},
		{[]string{"resume", "store"}, protocol.ExitUnsupported, "nothing to resume"},
		{[]string{"abort", "store", "--take-back"}, protocol.ExitUnsupported, "nothing to abort"},
		{[]string{"status", "store", "--topology", "acme"}, protocol.ExitUnsupported, "harmony-deploy-acme"},
	} {
		args := c.args
		_, back, err := runRollout(t, done(), args...)
		if protocol.ExitCode(err) != c.code || err == nil || !strings.Contains(err.Error(), c.says) || back {
			t.Errorf("%v: status %d: %v", c.args, protocol.ExitCode(err), err)
		}
	}
}
