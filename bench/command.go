package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

// command is a command line that is run and timed.
type command struct {
	name string // in the table
	argv []string
	dir  string   // the working folder; ours when empty
	env  []string // besides our own environment
	// stdin, if set, is the file that the command reads.
	stdin string
	// until, if set, is a part of the line of stdout with which the measured work is
	// done. What the command does after it is not counted.
	until string
	// peak, if set, becomes the most memory that a run of it had, in bytes.
	peak *int64
	// work, if set, is done in the place of a command, in this process.
	work func(context.Context) error
	// before, if set, is run before each run, untimed.
	before func(context.Context) error
}

// time runs the command once and returns its wall time. Its output goes to a
// file, which costs the command nothing, and becomes part of an error.
func (c command) time(ctx context.Context) (time.Duration, error) {
	if c.before != nil {
		if err := c.before(ctx); err != nil {
			return 0, fmt.Errorf("prepare %s: %w", c.name, err)
		}
	}
	if c.work != nil {
		began := time.Now()
		err := c.work(ctx)
		return time.Since(began), err
	}
	output, err := os.CreateTemp("", "harmony-bench-output-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(output.Name())
	defer output.Close()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdout, cmd.Stderr = output, output
	if c.stdin != "" {
		stdin, err := os.Open(c.stdin)
		if err != nil {
			return 0, err
		}
		defer stdin.Close()
		cmd.Stdin = stdin
	}
	lines := io.ReadCloser(nil)
	if c.until != "" {
		cmd.Stdout = nil
		if lines, err = cmd.StdoutPipe(); err != nil {
			return 0, err
		}
	}
	began := time.Now()
	var took time.Duration
	if err = cmd.Start(); err == nil {
		stop := func() {}
		if c.peak != nil {
			stop = watch(cmd.Process.Pid, c.peak)
		}
		if lines != nil {
			took, err = c.reach(lines, began)
		}
		err = errors.Join(err, cmd.Wait())
		stop()
	}
	if lines == nil {
		took = time.Since(began)
	}
	if err != nil {
		text, readErr := os.ReadFile(output.Name())
		return 0, errors.Join(fmt.Errorf("%s (%s): %w\n%s", c.name, strings.Join(c.argv, " "), err, end(string(text))), readErr)
	}
	return took, nil
}

// reach reads the lines to their end and returns when the one came that was
// waited for.
func (c command) reach(lines io.Reader, began time.Time) (took time.Duration, err error) {
	err = fmt.Errorf("its output has no line with %s", c.until)
	scanner := bufio.NewScanner(lines)
	scanner.Buffer(nil, protocol.MaxDocument)
	for scanner.Scan() {
		if err != nil && strings.Contains(scanner.Text(), c.until) {
			took, err = time.Since(began), nil
		}
	}
	return took, errors.Join(err, scanner.Err())
}

// run runs the command once, untimed.
func (c command) run(ctx context.Context) error {
	_, err := c.time(ctx)
	return err
}

// output runs a command and returns what it prints.
func output(ctx context.Context, argv ...string) (string, error) {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w\n%s", err, end(string(exit.Stderr)))
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// end is the last part of an output.
func end(text string) string {
	const limit = 3000
	text = strings.TrimSpace(text)
	return text[max(0, len(text)-limit):]
}

// goBuild compiles a package of this repository into a static binary.
func goBuild(ctx context.Context, target, pkg string) error {
	return command{
		name: "go build", env: []string{"CGO_ENABLED=0"},
		argv: []string{"go", "build", "-trimpath", "-ldflags=-s -w", "-o", target, pkg},
	}.run(ctx)
}

// watch keeps in peak the most memory of a process, in bytes, until it is
// stopped. The system forgets it with the process, and getrusage reports no less
// than this process has: so it is read every few milliseconds.
func watch(pid int, peak *int64) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			_, rest, found := strings.Cut(string(status), "VmHWM:")
			var kibibytes int64
			if err != nil || !found {
				continue
			}
			if _, err := fmt.Sscan(rest, &kibibytes); err == nil {
				*peak = max(*peak, kibibytes<<10)
			}
		}
	}()
	return func() { close(done); <-ended }
}
