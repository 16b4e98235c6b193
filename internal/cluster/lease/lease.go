// Package lease gives one process at a time the right to write to a release, by
// a Kubernetes Lease next to it. A process that finds a release half done under
// the lease knows that whoever left it so is gone.
package lease

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	typed "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/nationtech/harmony/pkg/protocol"
)

// A lease outlasts an API server that is away for half a minute. The clock of its
// holder may be wrong, so that no time in it proves anything: it is over when its
// renewal was not seen to move for the whole duration, or, when by the clock it
// was left long ago, for that of a few renewals.
const (
	duration = 45 * time.Second
	renewal  = 5 * time.Second
	settling = 3 * renewal
	look     = time.Second
	giveBack = 5 * time.Second
)

// ErrLost is the cause by which the context of [Lease.Hold] ends when another
// process took the lease.
var ErrLost = errors.New("lost the lease of the release: another process took it, or the API server did not answer for too long")

// Lease is held, or about to be.
type Lease struct {
	client   typed.LeaseInterface
	name     string
	identity string
	// Inherited is true when the lease was taken from a process that did not
	// give it back.
	Inherited bool
	current   *coordinationv1.Lease
}

// Name is the name of the Lease of a release.
func Name(release string) string { return "harmony-" + release }

// Acquire takes the lease of a release, waiting for a holder that lives.
// waiting is called once for each holder that it waits for. A deadline of the
// context that comes first is an error of status protocol.ExitRetryable.
func Acquire(ctx context.Context, client typed.LeaseInterface, release string, waiting func(holder string, since time.Time)) (*Lease, error) {
	l := &Lease{client: client, name: Name(release), identity: Identity(os.Getpid())}
	var seen observation
	told := ""
	for {
		held, err := l.try(ctx, &seen)
		if err != nil {
			return nil, fmt.Errorf("lease %s: %w", l.name, err)
		}
		if held {
			return l, nil
		}
		if told != seen.holder {
			told = seen.holder
			waiting(describe(seen.holder), seen.acquired)
		}
		err = l.wait(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, protocol.Retryable("release %s is still being worked on by %s, since %s", release, describe(seen.holder), seen.acquired.Format(time.TimeOnly)).
				WithHint("wait for it to end, or, if it is gone, for its lease to run out (%s)", 2*duration)
		}
		if err != nil {
			return nil, err
		}
	}
}

// observation is what was last seen of another's lease, and since when.
type observation struct {
	holder   string
	version  string
	at       time.Time
	acquired time.Time
}

func (l *Lease) try(ctx context.Context, seen *observation) (bool, error) {
	now := metav1.NowMicro()
	fresh := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: l.name}, Spec: l.spec(now)}
	created, err := l.client.Create(ctx, fresh, metav1.CreateOptions{})
	if err == nil {
		l.current = created
		return true, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return false, err
	}
	found, err := l.client.Get(ctx, l.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return l.try(ctx, seen)
	}
	if err != nil {
		return false, err
	}
	if !seen.over(found, now.Time) {
		return false, nil
	}
	found.Spec = l.spec(now)
	taken, err := l.client.Update(ctx, found, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	l.current, l.Inherited = taken, true
	return true, nil
}

// over records what was found, and reports whether its holder has lost it.
func (o *observation) over(found *coordinationv1.Lease, now time.Time) bool {
	if found.Spec.HolderIdentity == nil || *found.Spec.HolderIdentity == "" || found.Spec.RenewTime == nil {
		return true
	}
	if o.version != found.ResourceVersion {
		*o = observation{holder: *found.Spec.HolderIdentity, version: found.ResourceVersion, at: now, acquired: found.Spec.RenewTime.Time}
		if found.Spec.AcquireTime != nil {
			o.acquired = found.Spec.AcquireTime.Time
		}
	}
	lasts := duration
	if found.Spec.LeaseDurationSeconds != nil {
		lasts = time.Duration(*found.Spec.LeaseDurationSeconds) * time.Second
	}
	if h, ok := parseHolder(o.holder); ok && h.dead() {
		return true
	}
	if now.Sub(found.Spec.RenewTime.Time) > 2*lasts {
		lasts = min(lasts, settling)
	}
	return now.Sub(o.at) > lasts
}

func (l *Lease) spec(now metav1.MicroTime) coordinationv1.LeaseSpec {
	return coordinationv1.LeaseSpec{
		HolderIdentity: &l.identity, LeaseDurationSeconds: new(int32(duration / time.Second)),
		AcquireTime: &now, RenewTime: &now,
	}
}

// wait returns when the lease has changed, or after a moment, in which its
// holder may have died.
func (l *Lease) wait(ctx context.Context) error {
	return AwaitChange(ctx, look, func(ctx context.Context) (watch.Interface, error) {
		return l.client.Watch(ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("metadata.name", l.name).String(),
		})
	})
}

// Hold renews the lease until the context that it returns ends. stop ends the
// renewal and gives the lease back, also when the work was cancelled.
func (l *Lease) Hold(ctx context.Context) (held context.Context, stop func()) {
	held, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if !l.renewUntil(held) {
			cancel(ErrLost)
		}
	}()
	return held, func() {
		cancel(context.Canceled)
		<-done
		l.release(ctx)
	}
}

// renewUntil renews until the context ends, and returns false when the lease is
// lost.
func (l *Lease) renewUntil(ctx context.Context) bool {
	ticker := time.NewTicker(renewal)
	defer ticker.Stop()
	renewed := time.Now()
	for {
		select {
		case <-ctx.Done():
			return true
		case <-ticker.C:
		}
		err := l.renew(ctx)
		switch {
		case err == nil:
			renewed = time.Now()
		case apierrors.IsConflict(err) || apierrors.IsNotFound(err):
			return false
		case time.Since(renewed) > duration-renewal:
			return false
		}
	}
}

// renew is not cut off by a cancelled context: release has to know the last
// version of the lease.
func (l *Lease) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewal)
	defer cancel()
	next := l.current.DeepCopy()
	next.Spec.RenewTime = new(metav1.NowMicro())
	updated, err := l.client.Update(ctx, next, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) {
		// Another took it, unless it was a renewal whose answer was lost.
		found, getErr := l.client.Get(ctx, l.name, metav1.GetOptions{})
		if getErr != nil {
			return getErr
		}
		if holder := found.Spec.HolderIdentity; holder != nil && *holder == l.identity {
			updated, err = found, nil
		}
	}
	if err == nil {
		l.current = updated
	}
	return err
}

// release deletes the lease, unless another has taken it. If that fails the
// lease runs out by itself.
func (l *Lease) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBack)
	defer cancel()
	_ = l.client.Delete(ctx, l.name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &l.current.UID, ResourceVersion: &l.current.ResourceVersion},
	})
}

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
