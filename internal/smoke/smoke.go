// Package smoke checks from outside whether a deployed app works:
// its workloads are rolled out, it answers a request as expected, its port is
// open, a program says so. One file holds each kind of check.
//
// It speaks plain HTTP to a cluster, with a few small types of its own. The
// typed clients of client-go would double the start time of harmony-smoke, and
// nothing here needs them.
package smoke

import (
	"context"
	"slices"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Find is the path of the executable of a kind of check that is not built in. What is
// missing or refused is an error of status protocol.ExitUnsupported.
type Find func(kind string) (path string, err error)

// New makes the suite's own [capability.Checker]. The flags say what the user
// of the command line chose; they win over the target's own settings.
//
// The flags are read when a check asks for the cluster, so that New can be
// called before the command line is parsed.
func New(flags *conn.Flags, find Find) capability.Adapter[capability.Checker] {
	return func(_ context.Context, env capability.Environment) (capability.Checker, error) {
		return &checker{env: env, flags: flags, find: find}, nil
	}
}

// checker is safe for use by several goroutines: a call holds its own state.
type checker struct {
	env   capability.Environment
	flags *conn.Flags
	find  Find
}

// Check implements [capability.Checker].
func (c *checker) Check(ctx context.Context, app protocol.AppSpec, target string) (protocol.SmokeReport, error) {
	return c.CheckDeployed(ctx, app, protocol.DeployResult{}, target)
}

// CheckDeployed implements [capability.DeployedChecker]. The checks run side by side; one that needs
// another begins after it, and is skipped when that one failed. An app without checks
// passes.
//
// With the report comes an error of status protocol.ExitSmoke when the app
// did not pass a check, and one of status protocol.ExitRetryable or
// protocol.ExitFailed when the cluster did not allow the check.
//
// On a target of several clusters they run on each of them; for edge devices see
// checkDevices.
func (c *checker) CheckDeployed(ctx context.Context, app protocol.AppSpec, deployed protocol.DeployResult, target string) (protocol.SmokeReport, error) {
	if err := c.env.Topology.CheckSmoke(app); err != nil {
		return protocol.SmokeReport{}, err
	}
	s := scene{app: app, target: target, topology: c.env.Topology, deployed: deployed, find: c.find}
	if c.env.Topology.Targets[target].MultiCluster != nil {
		return c.checkAll(ctx, s)
	}
	if c.env.Topology.Targets[target].EdgeDevice != nil {
		return c.checkDevices(ctx, s)
	}
	return c.checkOne(ctx, s)
}

func (c *checker) checkOne(ctx context.Context, s scene) (protocol.SmokeReport, error) {
	app, target := s.app, s.target
	cluster, err := c.connect(app, target)
	if err != nil {
		return protocol.SmokeReport{}, err
	}
	s.topology, s.name, s.cluster = c.env.Topology, c.env.Cluster, cluster
	probes, err := newProbes(s)
	if err != nil {
		return protocol.SmokeReport{}, err
	}
	report := protocol.SmokeReport{Metadata: app.Metadata, Target: target, Checks: skipped(app.Smoke)}
	if c.env.DryRun {
		report.Planned = true
		return report, nil
	}
	err = c.runAll(ctx, s, probes, &report)
	report.Passed = err == nil
	return report, err
}

func skipped(checks []protocol.SmokeCheck) []protocol.CheckResult {
	results := make([]protocol.CheckResult, len(checks))
	for i, check := range checks {
		results[i] = protocol.CheckResult{Name: check.Name, Type: kindOf(check), Status: protocol.CheckSkipped}
	}
	return results
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

// connect makes the client of the target's cluster, or nil when no check needs
// one. It reads the kubeconfig and sends no request yet.
func (c *checker) connect(app protocol.AppSpec, target string) (*cluster, error) {
	if _, ok := c.env.Topology.Targets[target]; ok && !slices.ContainsFunc(app.Smoke, needsCluster) {
		return nil, nil
	}
	topology, err := c.env.Topology.At(app.Name, target)
	if err != nil {
		return nil, err
	}
	conn, err := conn.Connect(c.flags, topology, target)
	if err != nil {
		return nil, err
	}
	return newCluster(conn)
}

func needsCluster(check protocol.SmokeCheck) bool {
	return check.Rollout != nil || check.Resource != nil || check.Logs != nil || check.Job != nil || check.HelmTest != nil || len(check.Other) > 0 || serviceOf(check) != "" || check.Prometheus != nil && check.Prometheus.Service != ""
}
