package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// takeBacks measures what a failed check costs: from the moment it is known until the
// release before is proven to run, against the start of that release's pod alone.
func takeBacks(ctx context.Context, b *bench) ([]row, error) {
	return withDelivery(ctx, b, "takeback", func(d *delivery) (rows []row, err error) {
		for _, topology := range topologies {
			measured, err := d.back(ctx, topology)
			rows = append(rows, measured...)
			if err != nil {
				return rows, err
			}
		}
		return rows, nil
	})
}

// back deploys a change and takes it back, by turns with a restart of the pod.
func (d *delivery) back(ctx context.Context, topology string) ([]row, error) {
	file, err := d.published(ctx, topology, app(0))
	if err != nil {
		return nil, err
	}
	deploy := d.deploy(topology, file, true)
	if err := deploy.run(ctx); err != nil {
		return nil, err
	}
	deployed := filepath.Join(d.folder, topology+".deployed")
	back := command{
		name: "harmony deploy take-back", argv: []string{"harmony", "deploy", "take-back", "--topology=" + topology, "--target=staging"},
		dir: d.folder, stdin: deployed,
	}
	back.before = func(ctx context.Context) error {
		if err := deploy.before(ctx); err != nil {
			return err
		}
		keep := deploy
		keep.before, keep.argv = nil, []string{"bash", "-c", `out=$1; shift; exec "$@" >"$out"`, "bash", deployed}
		keep.argv = append(keep.argv, deploy.argv...)
		return errors.Join(os.RemoveAll(deployed), keep.run(ctx))
	}
	restart := command{name: "kubectl rollout restart", argv: []string{"bash", "-c", fmt.Sprintf(
		"kubectl -n %[1]s rollout restart deployment/%[2]s && kubectl -n %[1]s rollout status deployment/%[2]s", namespaceOf(topology), app(0))}}
	times, err := interleave(ctx, d.bench.rounds(20), back, restart)
	if err != nil {
		return nil, err
	}
	what, limit := "take-back: one app by "+topology, budget{over: 10 * time.Second}
	return []row{
		{what: what, times: times[0], against: "the start of its pod", peer: times[1], budget: limit},
		{what: what + ", 95th percentile", times: series{percentile95(times[0])}, against: "the start of its pod", peer: series{median(times[1])}, budget: limit},
	}, nil
}

// percentile95 is the time that 19 of 20 rounds do not exceed.
func percentile95(times series) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[(len(sorted)*95+99)/100-1]
}
