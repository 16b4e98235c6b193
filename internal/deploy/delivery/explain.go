package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Explain adds the server to an error, and tells the deadline of the call, which
// had the time limit, from the user's interruption of ctx. what says what was
// done: deploy app to staging.
func Explain(ctx context.Context, c *conn.Conn, what string, limit time.Duration, err error) error {
	var told *protocol.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return fmt.Errorf("%s: %w", what, errors.Join(ctx.Err(), err))
	case errors.As(err, &told) || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
		return c.Explain(err)
	}
	return fmt.Errorf("%s: not done after %s: %w", what, limit, err)
}

// The pauses between two attempts of [Retry]: they grow up to the longest.
const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// Retry repeats a call while the API server answers that it is busy, or not at
// all, for at most the time given. Each attempt comes after a longer pause. The
// call does no harm when it is made twice.
func Retry(ctx context.Context, c *conn.Conn, atMost time.Duration, progress func(protocol.Event), call func() error) error {
	start := time.Now()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := call()
		if err == nil || ctx.Err() != nil || conn.Terminating(err) {
			return err
		}
		explained := c.Explain(err)
		if protocol.ExitCode(explained) != protocol.ExitRetryable || time.Since(start)+pause > atMost {
			return err
		}
		if pause == firstPause {
			progress(protocol.Event{Phase: "wait", Message: explained.Error()})
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(ctx.Err(), err)
		case <-timer.C:
		}
	}
}

// Worst is the first of the errors that are not nil, with the worst status of
// them all; nil when there is none.
func Worst(errs []error) error {
	var first error
	codes := make([]int, len(errs))
	for i, err := range errs {
		codes[i] = protocol.ExitCode(err)
		first = cmp.Or(first, err)
	}
	if worst := protocol.WorstCode(codes...); first != nil && worst != protocol.ExitCode(first) {
		return &protocol.Error{Code: worst, Err: first, Hint: protocol.HintOf(first)}
	}
	return first
}

// Also adds to a failure what went wrong after it. The exit status and the hint
// stay those of the failure.
func Also(failure error, what string, err error) error {
	both := fmt.Errorf("%w\n%s: %w", failure, what, err)
	if code := protocol.ExitCode(failure); code != protocol.ExitCode(both) {
		return &protocol.Error{Code: code, Err: both, Hint: protocol.HintOf(failure)}
	}
	return both
}
