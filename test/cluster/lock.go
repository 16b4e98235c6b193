package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lock lets one process at a time change what name stands for. The lock ends
// with the returned function, or with the process. Its file lies in the cache
// folder, so that down leaves no file of the state folder behind.
func (c *cluster) lock(ctx context.Context, name string) (func(), error) {
	sum := fnv.New64a()
	sum.Write([]byte(name))
	path := filepath.Join(c.cache, "locks", fmt.Sprintf("%016x", sum.Sum64()))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	waiting := false
	err = poll(ctx, 10*time.Minute, func() error {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != nil && !waiting {
			waiting = true
			c.say("waiting for another run to end")
		}
		return err
	})
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() { file.Close() }, nil
}

// poll calls check until it answers nil. It gives up, with check's last answer,
// after the timeout or when ctx ends.
func poll(ctx context.Context, timeout time.Duration, check func() error) error {
	deadline := time.Now().Add(timeout)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check()
		if err == nil || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("gave up after %s: %w", timeout, err)
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}
