// Package signals makes the context of a main function.
package signals

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Context returns a context that SIGINT and SIGTERM cancel; a second signal
// ends the process at once. A write to a closed pipe fails with an error
// instead of ending the process, so that what is held is released.
func Context(parent context.Context) (context.Context, context.CancelFunc) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(parent, syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
