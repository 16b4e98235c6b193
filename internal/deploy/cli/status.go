package cli

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// reports is the adapter that reports: Helm keeps its releases in the cluster,
// and reads the objects of the controllers as well.
const reports = "helm"

// atOnce is how many places are read at once.
const atOnce = 8

func (t Tools) status() *cobra.Command {
	p := &project{}
	cmd := &cobra.Command{
		Use:   "status [APP...]",
		Short: "Show what runs where",
		Long: `Show what runs where: for each app and each target of the topology the adapter that
delivered it, the version and the digest of the image, since when, whether it is
healthy, and what somebody changed by hand. It is read from the clusters: Helm
releases, Flux HelmReleases and Argo CD Applications; of edge devices it is what is
published for them, and what they have reported.

The exit status is 0 whatever runs, and 1 or 4 when a place could not be read.`,
		Example: "  harmony status\n  harmony status fleet-operator --target staging -o json",
		RunE: func(cmd *cobra.Command, patterns []string) error {
			if err := p.checkOutput(); err != nil {
				return err
			}
			return t.runStatus(cmd.Context(), p, patterns)
		},
	}
	t.register(cmd, p)
	p.registerOutput(cmd)
	return cmd
}

func (t Tools) runStatus(ctx context.Context, p *project, patterns []string) error {
	topology, apps, err := p.read(ctx, patterns)
	if err != nil {
		return err
	}
	targets := slices.Sorted(maps.Keys(topology.Targets))
	if p.target != "" {
		target, err := p.oneTarget(topology)
		if err != nil {
			return err
		}
		targets = []string{target}
	}
	entries, errs := []status.Entry{}, make([]error, len(targets)*len(apps))
	var mu sync.Mutex
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i := range errs {
		target, app := targets[i/len(apps)], apps[i%len(apps)]
		group.Go(func() error {
			found, err := t.statusAt(reading, topology, app, target)
			mu.Lock()
			defer mu.Unlock()
			entries, errs[i] = append(entries, found...), err
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	status.Sort(entries)
	if p.output == "json" {
		err = term.WriteJSON(t.Streams.Out, entries)
	} else {
		err = status.Table(t.Streams.Out, entries, time.Now())
	}
	return cmp.Or(err, delivery.Worst(errs))
}

// statusAt reads a target. An unreadable one has an entry that says why.
func (t Tools) statusAt(ctx context.Context, at protocol.Topology, app protocol.AppSpec, target string) ([]status.Entry, error) {
	entries, err := t.readStatus(ctx, at, app, target)
	if err == nil || len(entries) > 0 {
		return entries, err
	}
	if of, err := at.At(app.Name, target); err == nil {
		at = of
	}
	unknown := status.Entry{App: app.Name, Target: target, State: status.Unknown, Message: err.Error()}
	if in := at.Targets[target].InCluster; in != nil {
		unknown.Context, unknown.Namespace = in.Context, in.Namespace
	}
	return []status.Entry{unknown}, err
}

// readStatus asks the adapter that reports, and the topology's own where it knows
// more: what delivers an app may lie in another cluster than the app.
func (t Tools) readStatus(ctx context.Context, at protocol.Topology, app protocol.AppSpec, target string) ([]status.Entry, error) {
	entries, err := t.askStatus(ctx, at, reports, app, target)
	own := adapterOf(at)
	if err != nil || own == reports || at.Targets[target].EdgeDevice != nil {
		return entries, err
	}
	more, err := t.askStatus(ctx, at, own, app, target)
	switch {
	case protocol.ExitCode(err) == protocol.ExitUnsupported:
		return entries, nil // it knows nothing more, or is not of this plugin
	case err != nil && len(more) == 0:
		return nil, err
	}
	return status.Merge(entries, more), err
}

func (t Tools) askStatus(ctx context.Context, at protocol.Topology, name string, app protocol.AppSpec, target string) ([]status.Entry, error) {
	adapter, err := t.open(ctx, at, name, capability.Environment{DryRun: true, Progress: func(protocol.Event) {}})
	if err != nil {
		return nil, err
	}
	return adapter.Status(ctx, app, target)
}
