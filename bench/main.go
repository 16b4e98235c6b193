// Bench measures harmony against the tools it is compared with, and prints
// one table: medians, ratios and the budgets of the project. The commands of a
// row run in turn, A B A B, so that a drift of the machine meets all of them.
//
// It needs the suite on PATH, with kubectl, helm, crane, skopeo, ko, buildkitd, docker-registry, git, go and a cluster
// (KUBECONFIG, HARMONY_REGISTRY); scripts/bench.sh sets all that up. The exit
// status is 1 when something could not be measured, not when a budget is exceeded.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// section is one part of the table.
type section struct {
	name    string
	measure func(context.Context, *bench) ([]row, error)
}

func sections() []section {
	return []section{{"dispatch", dispatch}, {"start", start}, {"change", change}, {"noop", noop}, {"build", builds}, {"push", pushes}, {"deploy", deploys}, {"takeback", takeBacks}, {"checks", checks}, {"monorepo", monorepo}, {"list", list}}
}

// bench is one run: its folder, and how often each command is run.
type bench struct {
	folder string
	quick  bool
	rounds func(usual int) int
	say    func(format string, args ...any)
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	quick := flags.Bool("quick", false, "few rounds: to see that it works, not for numbers")
	only := flags.String("only", "", "the `sections` to run: dispatch,start,change,noop,build,push,deploy,takeback,checks,monorepo,list (default all)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "harmony-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	b := &bench{folder: folder, quick: *quick, rounds: func(usual int) int { return usual }}
	b.say = func(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
	if *quick {
		b.rounds = func(usual int) int { return max(2, usual/5) }
	}
	return b.print(ctx, chosen)
}

// choose returns the sections named, all when none is.
func choose(only string) ([]section, error) {
	if only == "" {
		return sections(), nil
	}
	var chosen []section
	for name := range strings.SplitSeq(only, ",") {
		known := len(chosen)
		for _, s := range sections() {
			if s.name == name {
				chosen = append(chosen, s)
			}
		}
		if len(chosen) == known {
			return nil, fmt.Errorf("no section %q: use dispatch, start, change, noop, build, push, deploy, takeback, checks, monorepo, list", name)
		}
	}
	return chosen, nil
}

// print runs the sections and prints their rows, also when one of them fails.
func (b *bench) print(ctx context.Context, chosen []section) error {
	var rows []row
	var failed []string
	before := machine()
	for _, s := range chosen {
		b.say("%s", s.name)
		measured, err := s.measure(ctx, b)
		rows = append(rows, measured...)
		if err != nil {
			failed = append(failed, s.name)
			b.say("%s could not be measured: %v", s.name, err)
		}
		if ctx.Err() != nil { // what was measured is shown all the same
			break
		}
	}
	fmt.Printf("%s\nbefore: %s\nafter:  %s\n\n", host(), before, machine())
	if err := table(os.Stdout, rows); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(failed) > 0 {
		return fmt.Errorf("could not measure %s", strings.Join(failed, ", "))
	}
	return nil
}

// path is a file or folder of this run.
func (b *bench) path(elem ...string) string {
	return filepath.Join(append([]string{b.folder}, elem...)...)
}
