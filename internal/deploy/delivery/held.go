package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	typed "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/lease"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Change is one change to a release, which only one process makes at a time.
type Change struct {
	// Conn is the way to the cluster, and Leases where the release's Lease lies.
	Conn   *conn.Conn
	Leases typed.LeaseInterface
	// Release names the Lease, and What the release for people.
	Release, What string
	DryRun        bool
	Progress      func(protocol.Event)
	// Retry repeats what fails while the API server is away; nil does not.
	Retry func(ctx context.Context, call func() error) error

	// Plan answers in a dry run, in which nothing else is called.
	Plan func(ctx context.Context) (protocol.DeployResult, error)
	// Prepare makes what has to be there before the Lease; it may be nil.
	Prepare func(ctx context.Context) error
	// Work makes the change. inherited says that the holder before has not given
	// the lease back.
	Work func(ctx context.Context, inherited bool) (protocol.DeployResult, error)
}

// Run makes the change under the lease, or only plans it. bounded limits how long
// the lease is waited for; it is held, and the work may last, as long as ctx. A
// lease that is lost meanwhile is an error of status protocol.ExitRetryable.
func (c Change) Run(ctx, bounded context.Context) (protocol.DeployResult, error) {
	if c.DryRun {
		return c.Plan(bounded)
	}
	c.Progress(protocol.Event{Phase: "target", Message: where(c.Conn)})
	var l *lease.Lease
	take := func() (err error) {
		if c.Prepare != nil {
			if err := c.Prepare(bounded); err != nil {
				return err
			}
		}
		l, err = lease.Acquire(bounded, c.Leases, c.Release, c.waits)
		return err
	}
	if c.Retry == nil {
		c.Retry = func(_ context.Context, call func() error) error { return call() }
	}
	if err := c.Retry(bounded, take); err != nil {
		return protocol.DeployResult{}, err
	}
	held, stop := l.Hold(ctx)
	defer stop()
	result, err := c.Work(held, l.Inherited)
	if cause := context.Cause(held); err != nil && errors.Is(cause, lease.ErrLost) {
		err = protocol.Retryable("%s: %w", c.What, cause)
	}
	return result, err
}

func (c Change) waits(holder string, since time.Time) {
	c.Progress(protocol.Event{Phase: "wait", Message: fmt.Sprintf("%s is being worked on by %s since %s, for %s now",
		c.What, holder, since.Format(time.TimeOnly), time.Since(since).Round(time.Second))})
}

// where names the cluster that is about to be changed.
func where(c *conn.Conn) string {
	text := "server " + c.Config.Host + ", namespace " + c.Namespace
	if c.Context != "" {
		text = "context " + c.Context + ", " + text
	}
	return text
}
