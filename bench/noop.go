package main

import (
	"context"
	"time"
)

// noop measures a release that finds nothing to do. Ours runs the smoke checks
// besides, which the peer does not.
func noop(ctx context.Context, b *bench) ([]row, error) {
	return withFleet(ctx, b, func(f *fleet) ([]row, error) {
		namespaces := f.theirs.staging() + " " + f.theirs.production()
		var rows []row
		for _, n := range []struct {
			what, apps string
			ours       command
			limit      time.Duration
		}{
			{"nothing to do: three apps, two targets", "callout operator agent", f.ours.release("--all"), time.Second},
			{"nothing to do: one app, two targets", "callout", f.ours.release("fleet-callout"), 500 * time.Millisecond},
		} {
			peer, err := f.peer(n.apps, namespaces)
			if err != nil {
				return rows, err
			}
			// The first round, which is not counted, installs what is missing.
			times, err := interleave(ctx, b.rounds(7), append([]command{n.ours}, peer...)...)
			if err != nil {
				return rows, err
			}
			rows = append(rows, f.row(n.what, times[0], times[1:], budget{time: n.limit}))
		}
		return rows, nil
	})
}
