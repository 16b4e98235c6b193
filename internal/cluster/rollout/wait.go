package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Options of [Wait]. The zero value works.
type Options struct {
	// Progress is called whenever the status of a workload changes.
	Progress func(Workload, Status)
	// Check, if set, is what must hold of the snapshots once all workloads are
	// ready; it is asked again until it answers true.
	Check func([]Snapshot) (bool, error)
	// FailOnly makes the end of the context, and not that of the rollout, the
	// good end: only problems are looked for.
	FailOnly bool
	// FailFast ends the wait at problems that could still heal, such as a crash
	// loop.
	FailFast bool
	// Promote has Rollouts that are on their way skip what is left of their steps, as
	// a rollback wants it.
	Promote bool
	// Log, if set, is called with every line that containers of the workloads write, by
	// several goroutines.
	Log func(w Workload, container, line string)
}

// recheck is how often problems that need time to be believed, and events, are
// looked at again without any change in the cluster.
const recheck = time.Second

// Wait follows the workloads until all are ready, one cannot become ready, or
// the context ends. The error of the latter two says what was seen last, with
// events and logs. A lost connection is reopened. What can heal ends the wait only
// with the context, unless Options.FailFast is set; Progress reports it meanwhile.
func Wait(ctx context.Context, client kubernetes.Interface, workloads []Workload, options Options) error {
	ctx, stop := context.WithCancel(ctx)
	w := &waiter{client: client, options: options, changed: make(chan struct{}, 1), since: map[string]time.Time{}}
	if options.Log != nil {
		w.logs = &logs{client: client, show: options.Log, seen: map[string]bool{}}
		w.logs.ctx, w.logs.cancel = context.WithCancel(context.WithoutCancel(ctx))
		defer w.logs.end()
	}
	defer w.running.Wait()
	defer stop()
	for _, workload := range workloads {
		if err := w.follow(ctx, workload); err != nil {
			return err
		}
	}
	ticker := time.NewTicker(recheck)
	defer ticker.Stop()
	for {
		if done, err := w.look(ctx); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return w.ended(ctx)
		case <-w.changed:
		case <-ticker.C:
		}
	}
}

// waiter follows several workloads. Only its watch error is shared with the
// informers' goroutines.
type waiter struct {
	client   kubernetes.Interface
	options  Options
	followed []*followed
	changed  chan struct{}
	running  sync.WaitGroup
	logs     *logs
	// since is when each problem was first seen.
	since map[string]time.Time

	mu       sync.Mutex
	watchErr error
}

// followed is a workload with the informers that hold its objects.
type followed struct {
	Workload
	informers []cache.SharedInformer
	started   time.Time
	snapshot  Snapshot
	status    Status
	told      string
	// promoted is the revision that was promoted, so that it is so only once.
	promoted string
}

func (w *waiter) follow(ctx context.Context, workload Workload) error {
	f := &followed{Workload: workload, started: time.Now()}
	for _, s := range sources(w.client, workload) {
		lw := cache.ToListWatcherWithWatchListSemantics(s.listWatch(workload.Namespace), w.client)
		informer := cache.NewSharedInformer(lw, s.example, 0)
		failed := informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.watchErr = err
			w.signal()
		})
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { w.signal() },
			UpdateFunc: func(any, any) { w.signal() },
			DeleteFunc: func(any) { w.signal() },
		}); err != nil || failed != nil {
			return cmp.Or(failed, err)
		}
		f.informers = append(f.informers, informer)
		w.running.Go(func() { informer.RunWithContext(ctx) })
	}
	w.followed = append(w.followed, f)
	return nil
}

func (w *waiter) signal() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// look evaluates the objects that the informers hold now.
func (w *waiter) look(ctx context.Context) (done bool, err error) {
	w.mu.Lock()
	watchErr := w.watchErr
	w.mu.Unlock()
	if apierrors.IsUnauthorized(watchErr) || apierrors.IsForbidden(watchErr) {
		return false, watchErr // which no retry can mend
	}
	ready := true
	var snapshots []Snapshot
	for _, f := range w.followed {
		if !f.synced() {
			ready = false
			continue
		}
		if err := f.update(); err != nil {
			return false, err
		}
		w.tell(f)
		if w.logs != nil {
			w.logs.follow(f.snapshot)
		}
		if !f.status.Ready {
			ready = false
			if err := w.promote(ctx, f); err != nil {
				return false, err
			}
			if problem := w.believed(ctx, f); problem != nil {
				return false, errors.New(diagnose(ctx, w.client, *problem, f.uid()))
			}
		}
		snapshots = append(snapshots, f.snapshot)
	}
	if w.options.FailOnly {
		return false, nil
	}
	if !ready {
		return false, w.held(ctx, false)
	}
	if w.options.Check == nil {
		return true, nil
	}
	return w.options.Check(snapshots)
}

func (f *followed) synced() bool {
	return !slices.ContainsFunc(f.informers, func(i cache.SharedInformer) bool { return !i.HasSynced() })
}

func (f *followed) update() (err error) {
	var objects []any
	for _, informer := range f.informers {
		objects = append(objects, informer.GetStore().List()...)
	}
	if f.snapshot, err = assemble(f.Workload, objects); err == nil {
		f.status, err = StatusOf(f.snapshot)
	}
	return err
}

func (w *waiter) tell(f *followed) {
	told := fmt.Sprint(f.status.ReadyPods, f.status.Pods, f.status.Ready, f.status.Message)
	if w.options.Progress == nil || told == f.told {
		return
	}
	f.told = told
	w.options.Progress(f.Workload, f.status)
}

// believed is the first problem that has lasted long enough. Those that are
// gone are forgotten.
func (w *waiter) believed(ctx context.Context, f *followed) *Problem {
	now := time.Now()
	prefix := f.Workload.String() + "/"
	seen := map[string]bool{}
	for _, p := range append(f.status.Suspects, w.withoutPods(ctx, f)...) {
		key := p.key()
		seen[key] = true
		if _, ok := w.since[key]; !ok {
			w.since[key] = now
		}
		if p.ends(w.options.FailFast) && now.Sub(w.since[key]) >= p.Grace {
			return &p
		}
	}
	for key := range w.since {
		if strings.HasPrefix(key, prefix) && !seen[key] {
			delete(w.since, key)
		}
	}
	return nil
}

// withoutPods looks into the events of a workload that has had no pod for a
// while: only a Deployment says in its status that it cannot make pods.
func (w *waiter) withoutPods(ctx context.Context, f *followed) []Problem {
	if f.Kind == "Deployment" || f.snapshot.Object == nil || len(f.snapshot.Current) > 0 || time.Since(f.started) < createGrace {
		return nil
	}
	events, err := eventsOf(ctx, w.client, f.Namespace, f.snapshot.Object.GetUID())
	if err != nil {
		return nil // it is looked at again
	}
	for _, event := range slices.Backward(events) {
		if message, ok := strings.CutPrefix(event, "Warning FailedCreate: "); ok {
			p := cannotCreate(f.Workload, "FailedCreate", message)
			if f.status.Message != p.seen() {
				f.status.Message = p.seen()
				w.tell(f)
			}
			return []Problem{p}
		}
	}
	return nil
}

func (f *followed) uid() types.UID {
	if f.snapshot.Object == nil {
		return ""
	}
	return f.snapshot.Object.GetUID()
}

// ended is the error when the context ended before the rollout.
func (w *waiter) ended(ctx context.Context) error {
	cause := context.Cause(ctx)
	if !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	w.mu.Lock()
	watchErr := w.watchErr
	w.mu.Unlock()
	if err := w.held(ctx, true); err != nil && !w.options.FailOnly {
		return err
	}
	for _, f := range w.followed {
		if !f.synced() {
			if watchErr == nil {
				return fmt.Errorf("%s cannot be read", f.Workload)
			}
			return fmt.Errorf("%s cannot be read: %w", f.Workload, watchErr)
		}
		if err := f.update(); err != nil { // the last change may not have been looked at
			return err
		}
		if !f.status.Ready {
			p := failed(f.snapshot, f.status.Message)
			if len(f.status.Suspects) > 0 {
				p = f.status.Suspects[0]
			}
			p.Workload, p.Late = f.Workload, true
			return errors.New(diagnose(ctx, w.client, p, f.uid()))
		}
	}
	if w.options.Check == nil && !w.options.FailOnly {
		return nil
	}
	return errors.New("all workloads are ready, but their running images could not be verified yet")
}
