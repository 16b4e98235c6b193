// Package smoke checks from outside whether a deployed app works:
// its workloads are rolled out, it answers a request as expected, its port is
// open. One file holds each kind of check.
//
// It speaks plain HTTP to a cluster, with a few small types of its own. The
// typed clients of client-go would double the start time of harmony-smoke, and
// nothing here needs them.
package smoke

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// New makes the suite's own [capability.Checker]. The flags say what the user
// of the command line chose; they win over the target's own settings.
//
// The flags are read when a check asks for the cluster, so that New can be
// called before the command line is parsed.
func New(flags *conn.Flags) capability.Adapter[capability.Checker] {
	return func(_ context.Context, env capability.Environment) (capability.Checker, error) {
		return &checker{env: env, flags: flags}, nil
	}
}

// checker is safe for use by several goroutines: a call holds its own state.
type checker struct {
	env   capability.Environment
	flags *conn.Flags
}

// Check implements [capability.Checker]. The checks run in the order of the
// app; those after the first one that fails are skipped. An app without checks
// passes.
//
// With the report comes an error of status protocol.ExitSmoke when the app
// did not pass a check, and one of status protocol.ExitRetryable or
// protocol.ExitFailed when the cluster did not allow the check.
//
// On a target of several clusters they run on each of them; for edge devices see
// checkDevices.
func (c *checker) Check(ctx context.Context, app protocol.AppSpec, target string) (protocol.SmokeReport, error) {
	if c.env.Topology.Targets[target].MultiCluster != nil {
		return c.checkAll(ctx, app, target)
	}
	if c.env.Topology.Targets[target].EdgeDevice != nil {
		return c.checkDevices(ctx, app, target)
	}
	return c.checkOne(ctx, app, target)
}

func (c *checker) checkOne(ctx context.Context, app protocol.AppSpec, target string) (protocol.SmokeReport, error) {
	cluster, err := c.connect(app, target)
	if err != nil {
		return protocol.SmokeReport{}, err
	}
	probes, err := newProbes(app, cluster, nil)
	if err != nil {
		return protocol.SmokeReport{}, err
	}
	report := protocol.SmokeReport{Metadata: app.Metadata, Target: target, Checks: skipped(app.Smoke)}
	if c.env.DryRun {
		report.Planned = true
		return report, nil
	}
	err = c.runAll(ctx, app, probes, &report)
	report.Passed = err == nil
	return report, err
}

func skipped(checks []protocol.SmokeCheck) []protocol.CheckResult {
	results := make([]protocol.CheckResult, len(checks))
	for i, check := range checks {
		results[i] = protocol.CheckResult{Name: check.Name, Type: typeOf(check), Status: protocol.CheckSkipped}
	}
	return results
}

// runAll runs the checks until one fails, and writes what it saw into report.
func (c *checker) runAll(ctx context.Context, app protocol.AppSpec, probes []probe, report *protocol.SmokeReport) error {
	total := len(app.Smoke)
	if total == 0 {
		c.progress(app, 0, 0, "no smoke checks: nothing to check")
	}
	for i, check := range app.Smoke {
		c.progress(app, i, total, check.Name)
		result, err := run(ctx, check, probes[i])
		report.Checks[i] = result
		if err != nil {
			return failure(app, c.place(report.Target), result, err)
		}
	}
	if total > 0 {
		c.progress(app, total, total, app.Smoke[total-1].Name)
	}
	return nil
}

// place is the target, with the cluster where it has several.
func (c *checker) place(target string) string {
	if c.env.Cluster == "" {
		return target
	}
	return target + " (" + c.env.Cluster + ")"
}

func (c *checker) progress(app protocol.AppSpec, current, total int, message string) {
	c.env.Progress(protocol.Event{
		Metadata: app.Metadata, Phase: "smoke",
		Current: int64(current), Total: int64(total), Unit: "checks", Message: message,
	})
}

// failure is the error of a check: of status protocol.ExitSmoke when the app did
// not pass, else with the status that err has: interrupted, or the cluster's.
func failure(app protocol.AppSpec, target string, result protocol.CheckResult, err error) error {
	about := fmt.Sprintf("smoke check %q of %s on %s", result.Name, app.Name, target)
	if errors.Is(err, context.Canceled) || errors.As(err, new(*blocked)) {
		return fmt.Errorf("%s: %w", about, err)
	}
	return &protocol.Error{Code: protocol.ExitSmoke, Message: about + ": " + result.Message}
}

// connect makes the client of the target's cluster, or nil when no check needs
// one. It reads the kubeconfig and sends no request yet.
func (c *checker) connect(app protocol.AppSpec, target string) (*cluster, error) {
	if _, ok := c.env.Topology.Targets[target]; ok && !slices.ContainsFunc(app.Smoke, needsCluster) {
		return nil, nil
	}
	conn, err := conn.Connect(c.flags, c.env.Topology, target)
	if err != nil {
		return nil, err
	}
	return newCluster(conn)
}

func needsCluster(check protocol.SmokeCheck) bool {
	return check.Rollout != nil || check.HTTP != nil && check.HTTP.Service != "" || check.TCP != nil && check.TCP.Service != ""
}
