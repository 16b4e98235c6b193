// Package signals makes the context of a main function.
package signals

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Context returns a context that SIGINT and SIGTERM cancel; a second signal
// ends the process at once, after what [BeforeEnd] asks for. A write to a closed
// pipe fails with an error instead of ending the process, so that what is held is
// released.
func Context(parent context.Context) (context.Context, context.CancelFunc) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	last := &ends{}
	ctx, stop := signal.NotifyContext(context.WithValue(parent, endsKey{}, last), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, func() {
		second := make(chan os.Signal, 1)
		signal.Notify(second, syscall.SIGINT, syscall.SIGTERM)
		stop()
		came := <-second
		last.run()
		signal.Stop(second)
		_ = syscall.Kill(os.Getpid(), came.(syscall.Signal))
	})
	return ctx, stop
}

// BeforeEnd has end called when a second signal ends the process, where ctx comes
// from [Context]. The function that it returns takes that back; it does not return
// once the end has begun.
func BeforeEnd(ctx context.Context, end func()) (takeBack func()) {
	all, ok := ctx.Value(endsKey{}).(*ends)
	if !ok {
		return func() {}
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.list == nil {
		all.list = map[*func()]bool{}
	}
	all.list[&end] = true
	return func() {
		all.mu.Lock()
		defer all.mu.Unlock()
		delete(all.list, &end)
	}
}

type endsKey struct{}

// ends are the functions that are called before the end.
type ends struct {
	mu   sync.Mutex
	list map[*func()]bool
}

// run calls them and keeps the lock: nobody goes on as if nothing had happened.
func (e *ends) run() {
	e.mu.Lock()
	for end := range e.list {
		(*end)()
	}
}
