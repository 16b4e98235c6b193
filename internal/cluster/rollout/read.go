package rollout

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
)

// Read takes a snapshot of each workload, in the order given.
func Read(ctx context.Context, client kubernetes.Interface, workloads []Workload) ([]Snapshot, error) {
	group, ctx := errgroup.WithContext(ctx)
	snapshots := make([]Snapshot, len(workloads))
	for i, w := range workloads {
		group.Go(func() (err error) {
			snapshots[i], err = read(ctx, client, w)
			return err
		})
	}
	return snapshots, group.Wait()
}

func read(ctx context.Context, client kubernetes.Interface, w Workload) (Snapshot, error) {
	all := sources(client, w)
	lists := make([][]any, len(all))
	group, ctx := errgroup.WithContext(ctx)
	for i, s := range all {
		group.Go(func() (err error) {
			lists[i], err = s.list(ctx, w.Namespace)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Snapshot{}, err
	}
	return assemble(w, slices.Concat(lists...))
}
