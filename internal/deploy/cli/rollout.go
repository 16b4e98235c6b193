package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cluster/waves"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// roller is an adapter that delivers in waves, and can be told to wait between them.
type roller interface {
	Rollout(ctx context.Context, app protocol.AppSpec, target string, change func(r *waves.Record, now time.Time) error) (*waves.Record, error)
	TakeRolloutBack(ctx context.Context, app protocol.AppSpec, target string, each func(protocol.DeployResult)) (protocol.DeployResult, error)
}

const rolloutHelp = `Show a rollout to several clusters, hold it between two waves, let it go on, or end it.
How far it has come is kept on the first of the target's clusters: the commands work from
any machine, whether a release is running, waits, or has ended as paused.

A release that runs looks before each wave. One that has ended does not begin again by
itself: run the same release once more, and it continues where the rollout stands.`

const verbResume = "resume"

const resumeHelp = `On a target that is one cluster it is for the app's Rollouts of Argo Rollouts that are
paused: they go on, as by kubectl argo rollouts promote, with their next step, or to their
end with --full. Deploy the same version again to wait for the end and prove it. A Canary
of Flagger waits for a webhook, which nothing else opens; one that is suspended is resumed.`

func (t Tools) rollout() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollout status|resume|pause|abort APP",
		Short: "Show, hold, continue or end a rollout to several clusters",
		Long:  rolloutHelp,
		Example: `  harmony rollout status shop --target production
  harmony rollout pause shop --target production
  harmony rollout resume shop --target production && harmony release shop --version 1.4.0
  harmony rollout abort shop --target production --take-back`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return protocol.Invalid("say what to do with the rollout: status, resume, pause or abort")
			}
			return protocol.Invalid("rollout %q is not one of status, resume, pause, abort", args[0])
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(
		t.rolloutVerb("status", "Show which waves are over and what the rollout waits for", nil),
		t.rolloutVerb(verbResume, "Let a rollout go on that waits, is paused, or was aborted", resume),
		t.rolloutVerb("pause", "Hold a rollout before its next wave", pause),
		t.rolloutVerb("abort", "End a rollout: no further wave begins, of this version", abort),
	)
	return cmd
}

// rolloutVerb is one of the commands. change is what it does to the record.
func (t Tools) rolloutVerb(name, short string, change func(r *waves.Record, by string, now time.Time) error) *cobra.Command {
	p := &project{}
	takeBack, full := false, false
	cmd := &cobra.Command{
		Use: name + " APP", Short: short,
		Long:    short + ".\n\n" + rolloutHelp,
		Example: fmt.Sprintf("  harmony rollout %s shop --target production", name),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.checkOutput(); err != nil {
				return err
			}
			return t.runRollout(cmd.Context(), p, name, args[0], change, takeBack, full)
		},
	}
	t.register(cmd, p)
	p.registerOutput(cmd)
	if name == verbResume {
		cmd.Long = short + ".\n\n" + resumeHelp + "\n\n" + rolloutHelp
		cmd.Example += "\n  harmony rollout resume shop --target staging --full"
		cmd.Flags().BoolVar(&full, "full", false, "on one cluster: skip all steps, pauses and analyses that are left")
	}
	if name == "abort" {
		cmd.Flags().BoolVar(&takeBack, "take-back", false, "roll back the clusters that the rollout has upgraded, once the wave in progress has ended")
	}
	return cmd
}

func (t Tools) runRollout(ctx context.Context, p *project, verb, name string, change func(*waves.Record, string, time.Time) error, takeBack, full bool) error {
	topology, apps, err := p.read(ctx, []string{name})
	if err != nil {
		return err
	}
	if len(apps) != 1 {
		return protocol.Invalid("%q names %d apps: name one", name, len(apps))
	}
	target, err := p.oneTarget(topology)
	if err == nil {
		err = delivers(topology, "rollout "+verb)
	}
	if err != nil {
		return err
	}
	if verb == verbResume && topology.Targets[target].InCluster != nil {
		return t.resumeSteps(ctx, topology, apps[0], target, full)
	}
	console, progress := t.console()
	defer console.Close()
	adapter, err := t.open(ctx, topology, adapterOf(topology), capability.Environment{Progress: progress(target)})
	if err != nil {
		return err
	}
	r, ok := adapter.(roller)
	if !ok {
		return protocol.Unsupported("adapter %q of topology %q does not deliver in waves", adapterOf(topology), topology.Name)
	}
	var changed func(*waves.Record, time.Time) error
	if change != nil {
		by := whoami()
		changed = func(r *waves.Record, now time.Time) error { return change(r, by, now) }
	}
	record, err := r.Rollout(ctx, apps[0], target, changed)
	if err != nil {
		return err
	}
	if takeBack && len(record.Upgraded) > 0 {
		result, err := r.TakeRolloutBack(ctx, apps[0], target, func(protocol.DeployResult) {})
		if err != nil {
			return err
		}
		return t.printResult(p.output, target, result)
	}
	return t.printRollout(p.output, apps[0].Name, target, record)
}

// whoami is who changes a rollout, for others to read.
func whoami() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

func pause(r *waves.Record, by string, now time.Time) error {
	switch r.State {
	case waves.Paused:
		return nil
	case waves.Rolling, waves.Waiting:
		r.Enter(waves.Paused, by, now)
		return nil
	}
	return over(r, "pause")
}

// resume ends a wait as well.
func resume(r *waves.Record, _ string, now time.Time) error {
	switch r.State {
	case waves.Rolling:
		return nil
	case waves.Waiting, waves.Paused, waves.Aborted:
		if r.Until != nil && now.Before(*r.Until) {
			r.Until = new(now.UTC().Truncate(time.Second))
		}
		r.Enter(waves.Rolling, "", now)
		return nil
	}
	return over(r, "resume")
}

func abort(r *waves.Record, by string, now time.Time) error {
	switch r.State {
	case waves.Aborted:
		return nil
	case waves.Done:
		return over(r, "abort")
	}
	r.Enter(waves.Aborted, by, now)
	return nil
}

func over(r *waves.Record, verb string) error {
	err := protocol.Unsupported("there is nothing to %s: the rollout of %s %s to %s %s", verb, r.App, r.Version, r.Target, ended(r))
	if r.State == waves.Failed {
		return err.WithHint("run the same release again to continue it")
	}
	return err.WithHint("to bring back the release before: harmony rollback %s --target %s", r.App, r.Target)
}

func ended(r *waves.Record) string {
	if r.State == waves.Done {
		return "is " + r.String()
	}
	return r.String()
}

// printRollout prints the record. Without one it prints null as JSON, and else a sentence.
func (t Tools) printRollout(output, app, target string, r *waves.Record) error {
	if output == "json" {
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(t.Streams.Out, "%s\n", text)
		return err
	}
	if r == nil {
		_, err := fmt.Fprintf(t.Streams.Out, "%s on %s: no rollout\n", app, target)
		return err
	}
	text := fmt.Sprintf("%s %s on %s: %s\n", app, r.Version, target, r)
	if len(r.Upgraded) > 0 && r.State != waves.Done {
		text += "upgraded by it: " + strings.Join(slices.Sorted(slices.Values(r.Upgraded)), ", ") + "\n"
	}
	if next := advice(app, target, r); next != "" {
		text += next + "\n"
	}
	_, err := fmt.Fprint(t.Streams.Out, text)
	return err
}

// advice is what can be done next.
func advice(app, target string, r *waves.Record) string {
	of := app + " --target " + target
	switch r.State {
	case waves.Paused:
		return "to let it go on: harmony rollout resume " + of + ", and run the same release again, unless one follows the rollout"
	case waves.Waiting:
		return "run the same release again then, unless one follows the rollout; to end the wait: harmony rollout resume " + of
	case waves.Aborted:
		if len(r.Upgraded) > 0 {
			return "to roll those clusters back: harmony rollout abort " + of + " --take-back"
		}
	case waves.Rolling, waves.Failed:
		return "unless a release is running, run the same one again to continue"
	}
	return ""
}
