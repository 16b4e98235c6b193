package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// down stops everything that up started and removes everything that it made,
// but for the built binaries and the Debian packages.
func (c *cluster) down(ctx context.Context) error {
	unlock, err := c.lock(ctx, c.state)
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.checkState(); err != nil {
		return err
	}
	steps := []func(context.Context) error{
		func(context.Context) error { return removePolicy() },
		c.stopNode,
		c.killPods,
		c.stopRest,
		func(context.Context) error { return c.unmountAll() },
		c.removeCgroups,
		c.tearDownNetwork,
		c.removeFiles,
	}
	var failed error
	for _, step := range steps {
		failed = errors.Join(failed, step(ctx))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if failed == nil {
		c.say("cluster %s is gone", c.name)
	}
	return failed
}

// stopNode ends what would start pods again, and all other servers but
// containerd. Nothing of their state is kept, so there is nothing to be gentle to.
func (c *cluster) stopNode(ctx context.Context) error {
	return c.kill(ctx, func(p process) bool { return p.component != "containerd" })
}

// killPods ends all processes of the pods. Their shims end with them, and remove
// their own sockets.
func (c *cluster) killPods(ctx context.Context) error {
	err := poll(ctx, 10*time.Second, func() error {
		pids, err := c.podProcesses()
		for _, pid := range pids {
			err = errors.Join(err, ignore(syscall.Kill(pid, syscall.SIGKILL), syscall.ESRCH))
		}
		if err == nil && len(pids) > 0 {
			err = fmt.Errorf("%d processes of pods still run", len(pids))
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.awaitShims(ctx)
}

// awaitShims gives the dead pods' shims the time to end by themselves, which
// they do if containerd still runs. What is left after it is killed.
func (c *cluster) awaitShims(ctx context.Context) error {
	if c.alive("containerd") != nil {
		return nil
	}
	err := c.waitGone(ctx, 5*time.Second, func(p process) bool { return !p.main() })
	if err != nil && ctx.Err() == nil {
		c.say("%v", err)
	}
	return ctx.Err()
}

// stopRest ends containerd, and the shims that are left with their sockets.
func (c *cluster) stopRest(ctx context.Context) error {
	sockets, err := filepath.Glob(c.path("run", "containerd", "*", "*", "*", "address"))
	if err != nil {
		return err
	}
	var files []string
	for _, file := range sockets {
		if address, err := os.ReadFile(file); err == nil {
			files = append(files, strings.TrimPrefix(string(address), "unix://"))
		}
	}
	if err := c.kill(ctx, func(process) bool { return true }); err != nil {
		return err
	}
	for _, file := range files {
		if err := ignore(os.Remove(file), fs.ErrNotExist); err != nil {
			return err
		}
	}
	return nil
}

// podProcesses are the processes in the cluster's control group.
func (c *cluster) podProcesses() ([]int, error) {
	var pids []int
	err := c.walkCgroups(func(dir string) error {
		content, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for word := range strings.FieldsSeq(string(content)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				return err
			}
			if !slices.Contains(pids, pid) && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return ignore(err, fs.ErrNotExist, syscall.ENODEV, syscall.EOPNOTSUPP)
	})
	return pids, err
}

// removeCgroups removes the cluster's control groups, the innermost first.
func (c *cluster) removeCgroups(ctx context.Context) error {
	return poll(ctx, 5*time.Second, func() error {
		return c.walkCgroups(func(dir string) error {
			return ignore(syscall.Rmdir(dir), syscall.ENOENT)
		})
	})
}

// walkCgroups visits the cluster's control groups, children before parents.
func (c *cluster) walkCgroups(visit func(dir string) error) error {
	var dirs []string
	for _, root := range cgroupRoots() {
		err := filepath.WalkDir(filepath.Join(root, c.cgroup()), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return ignore(err, fs.ErrNotExist)
		})
		if err != nil {
			return err
		}
	}
	var failed error
	for _, dir := range slices.Backward(dirs) {
		failed = errors.Join(failed, visit(dir))
	}
	return failed
}

// unmountAll unmounts everything below the state folder.
func (c *cluster) unmountAll() error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var failed error
	for _, point := range slices.Backward(mountsBelow(string(table), c.state)) {
		if err := syscall.Unmount(point, syscall.MNT_DETACH); err != nil {
			failed = errors.Join(failed, fmt.Errorf("unmount %s: %w", point, err))
		}
	}
	return failed
}

// mountsBelow reads a mountinfo table and gives the mount points below dir, in
// the order of the table.
func mountsBelow(table, dir string) []string {
	var points []string
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if point := unescape.Replace(fields[4]); strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	return points
}

// removeFiles removes the state folder, and what programs that know only one
// fixed folder have put outside of it.
func (c *cluster) removeFiles(ctx context.Context) error {
	failed := errors.Join(c.removeContainerLogs(), c.removeNetworkResults(), removeDeviceSocket(ctx), os.RemoveAll(c.state))
	for _, dir := range []string{
		"/run/docker/plugins", "/run/docker", "/run/containerd/s", "/run/containerd", "/var/log/containers", "/var/lib/cni/results", "/var/lib/cni/networks", "/var/lib/cni",
		"/var/lib/kubelet/device-plugins", "/var/lib/kubelet",
	} {
		failed = errors.Join(failed, ignore(syscall.Rmdir(dir), syscall.ENOENT, syscall.ENOTEMPTY, syscall.EEXIST))
	}
	return failed
}

// removeContainerLogs removes the kubelet's links to our containers' logs.
func (c *cluster) removeContainerLogs() error {
	links, err := filepath.Glob("/var/log/containers/*.log")
	for _, link := range links {
		if target, readErr := os.Readlink(link); readErr == nil && strings.HasPrefix(target, c.state+"/") {
			err = errors.Join(err, os.Remove(link))
		}
	}
	return err
}

// removeNetworkResults removes the network library's notes on our pods: they
// name the pods' network namespaces, which lie in the state folder.
func (c *cluster) removeNetworkResults() error {
	notes, err := filepath.Glob("/var/lib/cni/results/*")
	for _, note := range notes {
		text, readErr := os.ReadFile(note)
		if readErr == nil && bytes.Contains(text, []byte(`"`+c.state+"/")) {
			err = errors.Join(err, ignore(os.Remove(note), fs.ErrNotExist))
		}
	}
	return err
}

// removeDeviceSocket removes the kubelet's socket for device plugins, if no
// kubelet listens there any more.
func removeDeviceSocket(ctx context.Context) error {
	const socket = "/var/lib/kubelet/device-plugins/kubelet.sock"
	if err := unixAnswers(ctx, socket); errors.Is(err, syscall.ECONNREFUSED) {
		return os.Remove(socket)
	}
	return nil
}

// ignore gives err, but nil for the errors that do not matter.
func ignore(err error, harmless ...error) error {
	for _, h := range harmless {
		if errors.Is(err, h) {
			return nil
		}
	}
	return err
}
