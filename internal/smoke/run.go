package smoke

import (
	"context"
	"errors"
	"fmt"
	"os"
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

// newProbes makes the probe of every check: for a cluster, or for devices when
// place is not nil. An invalid check is found here, before any is run, as an
// error of status protocol.ExitInvalid.
func newProbes(app protocol.AppSpec, cluster *cluster, place *devices.Place) ([]probe, error) {
	probes := make([]probe, len(app.Smoke))
	for i, check := range app.Smoke {
		var err error
		switch {
		case check.Rollout != nil && place != nil:
			probes[i] = reportsProbe{*place}
		case check.Rollout != nil:
			probes[i], err = newRolloutProbe(app.Name, *check.Rollout, cluster)
		case check.HTTP != nil:
			probes[i], err = newHTTPProbe(app.ProjectRoot, *check.HTTP, cluster)
		case check.TCP != nil:
			probes[i] = tcpProbe{check: *check.TCP, cluster: cluster}
		default:
			err = errors.New("needs rollout, http or tcp")
		}
		if err != nil {
			return nil, protocol.Invalid("app %s: spec.smoke[%d] (%s): %w", app.Name, i, check.Name, err)
		}
	}
	return probes, nil
}

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
	result := protocol.CheckResult{Name: check.Name, Type: typeOf(check), Status: protocol.CheckFailed}
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
	timeout := check.Timeout.Or(defaultTimeout)
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	inRow, want := 0, max(check.Successes, 1)
	var last error
	for {
		*attempts++
		seen, cut, err := attempt(ctx, p, max(minAttempt, timeout/3))
		var b *blocked
		switch {
		case parent.Err() != nil:
			return "", parent.Err()
		case err == nil:
			inRow++
		case errors.As(err, &b) && b.final:
			return "", err
		case cut && *attempts > 1: // it saw less than the previous one
		default:
			inRow, last = 0, err
		}
		if inRow == want {
			return seen, nil
		}
		switch {
		case pause(ctx, check.Interval.Or(defaultInterval)):
		case parent.Err() != nil:
			return "", parent.Err()
		case inRow > 0:
			return "", fmt.Errorf("passed %d times in a row within %s, not %d", inRow, timeout, want)
		default:
			return "", last
		}
	}
}

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

// pause waits, and reports whether there is time left afterwards.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return ctx.Err() == nil
	}
}

func typeOf(check protocol.SmokeCheck) string {
	switch {
	case check.Rollout != nil:
		return "rollout"
	case check.HTTP != nil:
		return "http"
	}
	return "tcp"
}
