package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Every process that the kit starts carries these variables, and so do its
// children. The first two are the processes' identity: there is no pid file that
// could be lost, or that could come to name somebody else's process.
const (
	stateVariable     = "HARMONY_TEST_CLUSTER"
	componentVariable = "HARMONY_TEST_COMPONENT"
	configVariable    = "HARMONY_TEST_CONFIG" // digest of the configuration file
)

// process is a process of the cluster, alive when it was looked at.
type process struct {
	pid       int
	component string // whose process, or whose child, it is
	argv      []string
	config    string // digest of the configuration that it was started with
	started   uint64 // in ticks since boot: with pid, it identifies the process for ever
}

// processes lists the living processes of this cluster.
func (c *cluster) processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var list []process
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			if p, ok := readProcess("/proc", pid, c.state); ok {
				list = append(list, p)
			}
		}
	}
	return list, nil
}

// readProcess reads a process from a proc file system. It is not ok if the
// process has gone, or belongs to no cluster or to one with another state folder.
func readProcess(proc string, pid int, state string) (process, bool) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	environ, err := os.ReadFile(filepath.Join(dir, "environ"))
	if err != nil || !bytes.Contains(environ, []byte(stateVariable+"="+state+"\x00")) {
		return process{}, false
	}
	p := process{pid: pid}
	for variable := range strings.SplitSeq(string(environ), "\x00") {
		name, value, _ := strings.Cut(variable, "=")
		switch {
		case name == stateVariable && value != state:
			return process{}, false
		case name == componentVariable:
			p.component = value
		case name == configVariable:
			p.config = value
		}
	}
	cmdline, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return process{}, false
	}
	p.argv = strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
	p.started, err = startTime(dir)
	return p, err == nil && p.component != ""
}

// startTime is when a process started, in clock ticks after boot.
func startTime(dir string) (uint64, error) {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0, err
	}
	// The second field is the command's name, which may hold spaces and brackets.
	_, rest, ok := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(") "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 20 {
		return 0, fmt.Errorf("%s/stat: unknown format", dir)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// main distinguishes the component's own process from its children, such as containerd's
// shims.
func (p process) main() bool {
	return filepath.Base(p.argv[0]) == p.component
}

// signal sends a signal to exactly this process: it does nothing when the
// process has ended and its pid now names another.
func (p process) signal(sig syscall.Signal) error {
	handle, err := os.FindProcess(p.pid) // holds the process itself, not its number
	if err != nil {
		return err
	}
	defer handle.Release()
	started, err := startTime(filepath.Join("/proc", strconv.Itoa(p.pid)))
	if err != nil || started != p.started {
		return nil
	}
	if err := handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s (pid %d): %w", p.component, p.pid, err)
	}
	return nil
}

// start starts a component in a session of its own, with its log file.
func (c *cluster) start(p component, config string) error {
	log, err := os.OpenFile(c.logFile(p.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Dir = c.state
	cmd.Env = []string{
		"PATH=" + c.path("bin") + ":" + systemPath,
		"HOME=" + c.state,
		stateVariable + "=" + c.state,
		componentVariable + "=" + p.name,
		configVariable + "=" + config,
	}
	cmd.Env = append(cmd.Env, p.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	go cmd.Wait() // so that an early end is seen as one
	return nil
}

func (c *cluster) logFile(component string) string { return c.path("log", component+".log") }

// stop ends the processes that match: gently first, by force after the grace.
func (c *cluster) stop(ctx context.Context, grace time.Duration, match func(process) bool) error {
	if err := c.signalAll(syscall.SIGTERM, match); err != nil {
		return err
	}
	if c.waitGone(ctx, grace, match) == nil {
		return nil
	}
	return c.kill(ctx, match)
}

// kill ends the processes that match, by force.
func (c *cluster) kill(ctx context.Context, match func(process) bool) error {
	if err := c.signalAll(syscall.SIGKILL, match); err != nil {
		return err
	}
	return c.waitGone(ctx, 10*time.Second, match)
}

func (c *cluster) signalAll(sig syscall.Signal, match func(process) bool) error {
	list, err := c.processes()
	for _, p := range list {
		if match(p) {
			err = errors.Join(err, p.signal(sig))
		}
	}
	return err
}

// waitGone waits until no living process matches.
func (c *cluster) waitGone(ctx context.Context, timeout time.Duration, match func(process) bool) error {
	return poll(ctx, timeout, func() error {
		list, err := c.processes()
		if i := slices.IndexFunc(list, match); err == nil && i >= 0 {
			return fmt.Errorf("%s (pid %d) still runs", list[i].component, list[i].pid)
		}
		return err
	})
}
