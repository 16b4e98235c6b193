package lease

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/watch"
)

// AwaitChange returns when the watch reports a change, or after the time given. It
// fails when the context ends. A watch that cannot be opened only makes it wait
// the whole time.
func AwaitChange(ctx context.Context, atMost time.Duration, open func(context.Context) (watch.Interface, error)) error {
	bounded, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	var changes <-chan watch.Event
	if w, err := open(bounded); err == nil {
		defer w.Stop()
		changes = w.ResultChan()
	}
	for {
		select {
		case <-bounded.Done():
			return ctx.Err()
		case event, open := <-changes:
			switch {
			case !open:
				changes = nil
			case event.Type == watch.Modified || event.Type == watch.Deleted:
				return nil
			}
		}
	}
}
