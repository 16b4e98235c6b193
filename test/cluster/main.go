// Cluster starts and stops a real Kubernetes of one node, with an image registry,
// on this Linux machine: for the tests, the demo and the benchmarks of harmony.
//
// It needs root, and either Debian or the tools of debian.go. Nothing but Debian
// packages and Go modules pinned in versions/ is ever fetched. All state lies in
// one folder; `down` removes it together with every process, mount, device, rule
// and cgroup that `up` made. Built binaries stay, in the user's cache folder.
//
// Environment:
//
//	CLUSTER=current        use the current kube context, start nothing
//	HARMONY_CLUSTER_NAME   name of another cluster next to the default one
//	HARMONY_CLUSTER_STATE  folder of the state, absolute
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

const usage = `usage: cluster COMMAND

  up        start the cluster, or what is missing of it
  up test   what the tests need as well: a Docker daemon, BuildKit's binaries, a C compiler
  up bench  what the benchmarks need as well: the tools that are measured against
  install   the Debian packages alone, of everything that up, up test (install test) or
            up bench (install bench) needs; install lint is for the linters
  down      stop it and remove everything that up made
  status    show every component
  env       print shell settings: eval "$(go run ./test/cluster env)"
`

// use says who needs a part of the kit. Each use takes in those before it.
type use int

const (
	forLint use = iota - 1
	forAll
	forTests
	forBench
)

// uses are the arguments of up and install.
func uses(command string) map[string]use {
	known := map[string]use{"": forAll, "test": forTests, "bench": forBench}
	if command == "install" {
		known["lint"] = forLint
	}
	return known
}

// exitError is an error with the exit status that it asks for.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// unsupported says that this machine lacks what is needed: exit 3.
func unsupported(format string, args ...any) error {
	return &exitError{code: 3, err: fmt.Errorf(format, args...)}
}

// badUsage says that the command or a setting is wrong: exit 2.
func badUsage(format string, args ...any) error {
	return &exitError{code: 2, err: fmt.Errorf(format, args...)}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(exitCode(err, os.Stderr))
}

// exitCode prints err, if any, and gives the exit status for it.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "cluster:", err)
	var exit *exitError
	switch {
	case errors.As(err, &exit):
		return exit.code
	case errors.Is(err, context.Canceled):
		return 130
	}
	return 1
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	command, rest, err := parse(args)
	if err != nil {
		return err
	}
	if command == "help" {
		fmt.Fprint(stdout, usage)
		return nil
	}
	if command == "install" {
		return (&cluster{out: stderr}).installTools(ctx, uses(command)[strings.Join(rest, " ")])
	}
	switch choice := os.Getenv("CLUSTER"); choice {
	case "":
	case "current":
		return runCurrent(ctx, command, stdout, stderr)
	default:
		return badUsage("CLUSTER=%s is unknown: leave it unset, or set it to current", choice)
	}
	if err := checkMachine(); err != nil {
		return err
	}
	c, err := clusterFromEnv()
	if err != nil {
		return err
	}
	c.out = stderr
	switch command {
	case "up":
		return c.up(ctx, uses(command)[strings.Join(rest, " ")])
	case "down":
		return c.down(ctx)
	case "status":
		return c.status(stdout)
	}
	return c.printEnv(stdout)
}

// parse checks the command line and splits it into the command and the rest.
func parse(args []string) (string, []string, error) {
	if len(args) == 0 {
		return "", nil, badUsage("no command given\n%s", usage)
	}
	command, rest := args[0], args[1:]
	switch command {
	case "help", "-h", "--help":
		return "help", nil, nil
	case "up", "install":
		if _, ok := uses(command)[strings.Join(rest, " ")]; ok {
			return command, rest, nil
		}
		return "", nil, badUsage("%s does not take %q\n%s", command, rest, usage)
	case "down", "status", "env":
		if len(rest) == 0 {
			return command, rest, nil
		}
		return "", nil, badUsage("%s takes no arguments", command)
	}
	return "", nil, badUsage("unknown command %q\n%s", command, usage)
}
