package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// change measures from a changed line of fleet-callout to its new pod being
// ready in staging. Ours ends later: after the smoke checks.
func change(ctx context.Context, b *bench) ([]row, error) {
	return withFleet(ctx, b, func(f *fleet) ([]row, error) {
		ours := f.ours.release("fleet-callout", "--target=staging")
		ours.before = f.edited(f.ours)
		peer, err := f.peer("callout", f.theirs.staging())
		if err != nil {
			return nil, err
		}
		for i := range peer {
			peer[i].before = f.edited(f.theirs)
		}
		times, err := interleave(ctx, b.rounds(7), append([]command{ours, f.scaleUp()}, peer...)...)
		if err != nil {
			return nil, err
		}
		const what = "change → ready: one app, one target"
		return []row{
			f.row(what, times[0], times[2:], budget{ratio: 0.6}),
			{what: what, times: times[0], against: "the floor: kubectl scale 0→1", peer: times[1]},
		}, nil
	})
}

// edited changes the code, and waits for the last run's old pods to be gone.
func (f *fleet) edited(p *project) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := f.settle(ctx); err != nil {
			return err
		}
		return p.edit()
	}
}

// settle waits until no pod of staging is being removed.
func (f *fleet) settle(ctx context.Context) error {
	const format = `{range .items[?(@.metadata.deletionTimestamp)]}{.metadata.name} {end}`
	return poll(ctx, time.Minute, func() error {
		for _, p := range []*project{f.ours, f.theirs} {
			going, err := output(ctx, "kubectl", "get", "pods", "--namespace", p.staging(), "--output=jsonpath="+format)
			if err != nil {
				return err
			}
			if strings.TrimSpace(going) != "" {
				return fmt.Errorf("pods that do not go away: %s", going)
			}
		}
		return nil
	})
}

// scaleUp is what no tool can be faster than: a pod of an image that is on the
// node already.
func (f *fleet) scaleUp() command {
	kubectl := "kubectl --namespace " + f.ours.staging()
	down := kubectl + " scale deployment fleet-callout --replicas=0"
	up := kubectl + " scale deployment fleet-callout --replicas=1 && " + kubectl + " rollout status deployment fleet-callout"
	return command{
		name: "scale up", argv: []string{"bash", "-c", up},
		before: func(ctx context.Context) error {
			c := command{name: "scale down", argv: []string{"bash", "-c", down + " && " + kubectl + " wait --for=delete pods --all --timeout=1m"}}
			return c.run(ctx)
		},
	}
}

// poll calls check until it answers nil, and gives up with its last answer.
func poll(ctx context.Context, timeout time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up after %s: %w", timeout, err)
		case <-ticker.C:
		}
	}
}
