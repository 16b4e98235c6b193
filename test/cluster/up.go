package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// up starts what is missing of the cluster and waits until it is ready. It can be
// run again at any time, also after a run that was killed.
func (c *cluster) up(ctx context.Context, wanted use) error {
	unlock, err := c.lock(ctx, c.state)
	if err != nil {
		return err
	}
	defer unlock()
	start := time.Now()
	if err := c.claimState(); err != nil {
		return err
	}
	steps := []func(context.Context) error{
		func(ctx context.Context) error { return c.installTools(ctx, wanted) },
		c.checkOtherProxy,
		func(ctx context.Context) error { return c.installBinaries(ctx, wanted) },
		c.writePause,
		func(context.Context) error { return c.writePKI() },
		func(context.Context) error { return c.writeConfig() },
		c.setUpNetwork,
		func(ctx context.Context) error { return c.setUpDocker(ctx, wanted) },
		func(context.Context) error { return c.makeCgroups() },
		func(ctx context.Context) error { return c.startAll(ctx, c.components(wanted)) },
		func(ctx context.Context) error { return c.startControllers(ctx, wanted) },
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	c.say("cluster %s is ready (%.1fs): KUBECONFIG=%s, registry %s", c.name, time.Since(start).Seconds(), c.kubeconfig(), c.registry())
	return nil
}

// startAll starts every component as soon as those that it needs are ready, and
// waits for all.
func (c *cluster) startAll(ctx context.Context, list []component) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ready := map[string]chan struct{}{}
	for _, p := range list {
		ready[p.name] = make(chan struct{})
	}
	var group sync.WaitGroup
	for _, p := range list {
		group.Go(func() {
			for _, name := range p.after {
				select {
				case <-ready[name]:
				case <-ctx.Done():
					return
				}
			}
			err := c.ensure(ctx, p)
			if err == nil {
				err = c.await(ctx, p)
			}
			if err != nil {
				cancel(err)
				return
			}
			close(ready[p.name])
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// makeCgroups makes the control group of the pods, in every hierarchy.
func (c *cluster) makeCgroups() error {
	for _, root := range cgroupRoots() {
		if err := os.MkdirAll(filepath.Join(root, c.cgroup()), 0o755); err != nil {
			return fmt.Errorf("make a control group: %w", err)
		}
	}
	return nil
}

// cgroupRoots are the mount points of the control groups' hierarchies: one for
// version 2, one for each controller for version 1.
func cgroupRoots() []string {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.controllers"); err == nil {
		return []string{root}
	}
	procs, err := filepath.Glob(root + "/*/cgroup.procs")
	if err != nil {
		panic(err) // only a bad pattern fails
	}
	var roots []string
	for _, file := range procs {
		roots = append(roots, filepath.Dir(file))
	}
	return roots
}
