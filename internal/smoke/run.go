package smoke

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/pkg/protocol"
)

// What a check gets where it does not say otherwise.
const (
	defaultTimeout  = 60 * time.Second
	defaultInterval = time.Second
	// minAttempt is what one attempt gets at least; beyond that it gets a third
	// of the check's time, so that one hung connection does not use it all.
	minAttempt = 10 * time.Second
)

// probe checks the app once. It reports what it saw, or why that is not enough.
type probe interface {
	attempt(ctx context.Context) (seen string, err error)
}

// scene is what checks are about: an app on a target, in a cluster when that is not nil, or
// on devices when those are not.
type scene struct {
	app      protocol.AppSpec
	target   string
	topology protocol.Topology
	cluster  *cluster
	devices  *devices.Place
	// name is that of one of a target's several clusters.
	name string
	// deployed is what the deploy before proved, if there was one.
	deployed protocol.DeployResult
	find     Find
}

// newProbes makes the probe of every check. An invalid check is found here, before any is
// run, as an error of status protocol.ExitInvalid.
func newProbes(s scene) ([]probe, error) {
	probes := make([]probe, len(s.app.Smoke))
	for i, check := range s.app.Smoke {
		var err error
		if probes[i], err = s.probe(check); err != nil {
			if protocol.ExitCode(err) == protocol.ExitUnsupported {
				return nil, err
			}
			return nil, protocol.Invalid("app %s: spec.smoke[%d] (%s): %w", s.app.Name, i, check.Name, err)
		}
	}
	return probes, nil
}

func (s scene) probe(check protocol.SmokeCheck) (probe, error) {
	switch {
	case check.Rollout != nil && s.devices != nil:
		return reportsProbe{*s.devices}, nil
	case check.Rollout != nil:
		return newRolloutProbe(s.app.Name, check.Rollout.Workload, s.cluster)
	case check.HTTP != nil:
		return newHTTPProbe(s.app.ProjectRoot, *check.HTTP, s.cluster)
	case check.TCP != nil:
		return tcpProbe{check: *check.TCP, cluster: s.cluster}, nil
	case check.GRPC != nil:
		return newGRPCProbe(s.app.ProjectRoot, *check.GRPC, s.cluster)
	case check.Resource != nil:
		return newResourceProbe(*check.Resource, s.cluster)
	case check.Logs != nil:
		return newLogsProbe(s.app.Name, check, s.cluster)
	case check.Prometheus != nil:
		return newPrometheusProbe(s.app.ProjectRoot, *check.Prometheus, s.cluster)
	case check.Exec != nil:
		return newExecProbe(s, *check.Exec)
	case check.Job != nil:
		return &jobProbe{scene: s, check: check}, nil
	case check.HelmTest != nil:
		return helmTestProbe{check: *check.HelmTest, app: s.app.Name, cluster: s.cluster}, nil
	case len(check.Other) == 1:
		return newOtherProbe(s, check)
	}
	return nil, errors.New("needs one kind: " + strings.Join(protocol.CheckKinds(), ", ") + ", or that of an executable harmony-check-NAME")
}

// decided is the error of an attempt that no later one can change.
type decided struct{ error }

// unfinished is the error of an attempt that had no more time.
type unfinished struct{ error }

// blocked is the error of an attempt that could not check the app at all: the
// API server did not answer, or did not allow it. It says nothing about the app.
type blocked struct {
	err error
	// final is true when trying again cannot help.
	final bool
}

func (b *blocked) Error() string { return b.err.Error() }
func (b *blocked) Unwrap() error { return b.err }

// run tries a check until it holds often enough in a row, or its time is over.
// The error is the reason of the last attempt, or ctx's.
func run(ctx context.Context, check protocol.SmokeCheck, p probe) (protocol.CheckResult, error) {
	result := protocol.CheckResult{Name: check.Name, Type: kindOf(check), Status: protocol.CheckFailed}
	start := time.Now()
	seen, err := repeat(ctx, check, p, &result.Attempts)
	result.Duration = protocol.Duration(time.Since(start).Round(100 * time.Microsecond))
	if err != nil {
		result.Message = term.Excerpt(err.Error(), maxMessage)
		return result, err
	}
	result.Status, result.Message = protocol.CheckPassed, term.Excerpt(seen, maxMessage)
	return result, nil
}

func repeat(parent context.Context, check protocol.SmokeCheck, p probe, attempts *int) (string, error) {
	timeout := check.Timeout.Or(defaultTimeout+time.Duration(check.For)) + time.Duration(check.StartupGrace)
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	limit := max(minAttempt, timeout/3)
	if check.Exec != nil || check.Job != nil || check.HelmTest != nil || len(check.Other) > 0 {
		limit = timeout // a program knows itself how long it takes
	}
	held := streak{want: max(check.Successes, 1), length: time.Duration(check.For)}
	var last error
	for {
		*attempts++
		seen, cut, err := attempt(ctx, p, limit)
		var b *blocked
		switch {
		case parent.Err() != nil:
			return "", parent.Err()
		case err == nil:
			held.add()
		case errors.As(err, new(decided)), errors.As(err, &b) && b.final:
			return "", err
		case (cut || errors.As(err, new(unfinished))) && *attempts > 1: // it saw less than the previous one
		default:
			held, last = streak{want: held.want, length: held.length}, err
		}
		if held.enough() {
			return seen, nil
		}
		switch {
		case pause(ctx, check.Interval.Or(defaultInterval)):
		case parent.Err() != nil:
			return "", parent.Err()
		case held.n > 0 && held.n < held.want:
			return "", fmt.Errorf("passed %d times in a row within %s, not %d", held.n, timeout, held.want)
		case held.n > 0:
			return "", fmt.Errorf("held for %s within %s, not for %s", time.Since(held.since).Round(time.Second), timeout, held.length)
		default:
			return "", last
		}
	}
}

// streak is how often in a row, and how long, a check has held.
type streak struct {
	want, n int
	length  time.Duration
	since   time.Time
}

func (s *streak) add() {
	if s.n++; s.n == 1 {
		s.since = time.Now()
	}
}

func (s *streak) enough() bool { return s.n >= s.want && time.Since(s.since) >= s.length }

// attempt makes one attempt within limit, and says so where there was no answer; cut
// is true when that is because the check's own time was over.
func attempt(ctx context.Context, p probe, limit time.Duration) (seen string, cut bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := time.Now()
	seen, err = p.attempt(ctx)
	deadline, _ := ctx.Deadline()
	// A connection's deadline is the context's, and may come a moment before.
	late := errors.Is(err, os.ErrDeadlineExceeded) && !time.Now().Before(deadline)
	if !late && !errors.Is(err, context.DeadlineExceeded) {
		return seen, false, err
	}
	took := time.Since(start)
	return "", took < limit, fmt.Errorf("no answer in %s", took.Round(time.Millisecond))
}

// pause waits, and reports whether there is time left afterwards. It does not wait where there
// will be none.
func pause(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return ctx.Err() == nil
	}
}

// kindOf is the kind of a check, or "".
func kindOf(check protocol.SmokeCheck) string {
	if kinds := check.Kinds(); len(kinds) > 0 {
		return kinds[0]
	}
	return ""
}
