package namespace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/lease"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Preview is the namespace of a preview as it is to be.
type Preview struct {
	Name, Target string
	// Of is the project and the branch, App the one that is about to be released.
	Of  protocol.Preview
	App string
	// Shared says that other apps of the branch may be in it.
	Shared bool
	TTL    time.Duration
}

// previewLease names the Lease in the namespace under which a preview is renewed,
// once its time has passed, or removed. No app has such a name.
const previewLease = "preview.namespace"

// Renew makes the namespace, or puts off its end by another TTL from now, which is the
// API server's time. One that is not a preview, or that of something else, is an error
// of status protocol.ExitInvalid; one that is being removed is of status
// protocol.ExitRetryable.
func (p Preview) Renew(ctx context.Context, client kubernetes.Interface, now time.Time, waiting func(holder string, since time.Time)) error {
	for {
		err := p.renew(ctx, client, now, waiting)
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err) {
			continue // it has changed since it was read
		}
		if err != nil {
			return fmt.Errorf("preview namespace %s: %w", p.Name, err)
		}
		return nil
	}
}

func (p Preview) renew(ctx context.Context, client kubernetes.Interface, now time.Time, waiting func(holder string, since time.Time)) error {
	found, err := get(ctx, client, p.Name)
	switch {
	case err != nil:
		return err
	case found == nil:
		fresh := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: p.Name}}
		p.mark(fresh, now)
		_, err = client.CoreV1().Namespaces().Create(ctx, fresh, metav1.CreateOptions{})
		return err
	case !HasExpired(found, now):
		return p.update(ctx, client, found, now)
	}
	// Somebody may be about to remove it.
	return locked(ctx, client, p.Name, waiting, func(ctx context.Context) error {
		found, err := get(ctx, client, p.Name)
		switch {
		case err != nil:
			return err
		case found == nil:
			return apierrors.NewNotFound(corev1.Resource("namespaces"), p.Name)
		}
		return p.update(ctx, client, found, now)
	})
}

// get is the namespace, or nil if it does not exist.
func get(ctx context.Context, client kubernetes.Interface, name string) (*corev1.Namespace, error) {
	found, err := read(ctx, client, name)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err == nil && found == nil:
		return nil, protocol.Invalid("namespace %s is that of a preview, and this user may not read namespaces", name).
			WithHint("allow get, list, create, update and delete of namespaces")
	}
	return found, err
}

// locked does something under the Lease of the preview.
func locked(ctx context.Context, client kubernetes.Interface, name string, waiting func(string, time.Time), do func(context.Context) error) error {
	l, err := lease.Acquire(ctx, client.CoordinationV1().Leases(name), previewLease, waiting)
	if err != nil {
		return err
	}
	held, stop := l.Hold(ctx)
	defer stop()
	err = do(held)
	if errors.Is(context.Cause(held), lease.ErrLost) {
		return protocol.Retryable("preview namespace %s: %w", name, lease.ErrLost)
	}
	return err
}

// update renews a namespace as it was read.
func (p Preview) update(ctx context.Context, client kubernetes.Interface, found *corev1.Namespace, now time.Time) error {
	if err := p.Check(found); err != nil {
		return err
	}
	p.mark(found, now)
	_, err := client.CoreV1().Namespaces().Update(ctx, found, metav1.UpdateOptions{})
	return err
}

// Checked fails as Renew would, and changes nothing.
func (p Preview) Checked(ctx context.Context, client kubernetes.Interface) error {
	found, err := get(ctx, client, p.Name)
	if err != nil || found == nil {
		return err
	}
	return p.Check(found)
}

// Check fails for a namespace that is not this preview's.
func (p Preview) Check(found *corev1.Namespace) error {
	if !isPreview(found, p.Target) {
		return protocol.Invalid("namespace %s is there already, and is no preview of target %s that harmony made", p.Name, p.Target).
			WithHint("choose another namespace for the target in the topology, such as preview-{app}-{branch}")
	}
	is := Of(found)
	if is != p.Of {
		return protocol.Invalid("namespace %s is the preview of branch %s of %s, not of branch %s of %s", p.Name, is.Branch, is.Project, p.Of.Branch, p.Of.Project).
			WithHint("choose another namespace for the target in the topology, or remove that preview first")
	}
	for _, app := range Apps(found) {
		if !p.Shared && app != p.App {
			return protocol.Invalid("namespace %s is the preview of app %s, and would be that of %s too", p.Name, app, p.App).
				WithHint("choose another namespace for the target in the topology, such as {app}-at-{branch}")
		}
	}
	return nil
}

func (p Preview) mark(n *corev1.Namespace, now time.Time) {
	if n.Labels == nil {
		n.Labels = map[string]string{}
	}
	if n.Annotations == nil {
		n.Annotations = map[string]string{}
	}
	n.Labels[marks.ManagedBy], n.Labels[marks.Preview] = marks.Harmony, p.Target
	n.Annotations[marks.Project], n.Annotations[marks.Branch] = p.Of.Project, p.Of.Branch
	n.Annotations[marks.Expires] = now.Add(p.TTL).UTC().Format(time.RFC3339)
	n.Annotations[marks.PreviewApp+p.App] = ""
}

func isPreview(n *corev1.Namespace, target string) bool {
	return n.Labels[marks.ManagedBy] == marks.Harmony && n.Labels[marks.Preview] == target
}

// Of is the project and the branch of a preview.
func Of(n *corev1.Namespace) protocol.Preview {
	return protocol.Preview{Project: n.Annotations[marks.Project], Branch: n.Annotations[marks.Branch]}
}

// Apps are those that were released to a preview, sorted.
func Apps(n *corev1.Namespace) []string {
	var apps []string
	for _, name := range slices.Sorted(maps.Keys(n.Annotations)) {
		if app, ok := strings.CutPrefix(name, marks.PreviewApp); ok {
			apps = append(apps, app)
		}
	}
	return apps
}

// HasExpired reports a preview whose time has passed. One without a time, or with one
// that cannot be read, never does: somebody changed it.
func HasExpired(n *corev1.Namespace, now time.Time) bool {
	at, err := time.Parse(time.RFC3339, n.Annotations[marks.Expires])
	return err == nil && !now.Before(at)
}

// Expired are the previews of a project on a target whose time has passed, and that
// are not being removed already.
func Expired(ctx context.Context, client kubernetes.Interface, project, target string, now time.Time) ([]corev1.Namespace, error) {
	chosen := labels.SelectorFromSet(labels.Set{marks.ManagedBy: marks.Harmony, marks.Preview: target})
	list, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: chosen.String()})
	if err != nil {
		return nil, fmt.Errorf("list the previews of target %s: %w", target, err)
	}
	return slices.DeleteFunc(list.Items, func(n corev1.Namespace) bool {
		return n.DeletionTimestamp != nil || Of(&n).Project != project || !HasExpired(&n, now)
	}), nil
}

// Now is the API server's time, which all who renew and remove previews share: that of
// the machine may be wrong.
func Now(ctx context.Context, config *rest.Config) (time.Time, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return time.Time{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(config.Host, "/")+"/version", nil)
	if err != nil {
		return time.Time{}, err
	}
	response, err := client.Do(request)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for the server's time: %w", err)
	}
	_ = response.Body.Close() // only its header is read
	at, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return time.Time{}, fmt.Errorf("ask %s for its time: %w", config.Host, err)
	}
	return at, nil
}

// Removal takes a preview away.
type Removal struct {
	Client kubernetes.Interface
	// Name is the namespace, and Target that of the topology.
	Name, Target string
	// Now is the time at which an expired preview is removed; zero for one that is
	// removed whether or not its time has passed.
	Now time.Time
	// DryRun takes no Lease and leaves the namespace as it is.
	DryRun  bool
	Waiting func(holder string, since time.Time)
	// Remove takes the apps away, before the namespace goes.
	Remove func(ctx context.Context, apps []string) error
}

// Run removes the apps of the preview, or only some of them, and the namespace once no
// app is left in it. It reports whether the namespace goes. A namespace that harmony did
// not make as a preview of the target is left alone, and so is one that was renewed.
func (r Removal) Run(ctx context.Context, only ...string) (gone bool, err error) {
	found, err := r.get(ctx)
	if err != nil || found == nil {
		return false, err
	}
	work := func(ctx context.Context) error {
		found, err := r.get(ctx)
		if err != nil || found == nil {
			return err
		}
		apps := Apps(found)
		if len(only) > 0 {
			apps = only
		}
		if err := r.Remove(ctx, apps); err != nil {
			return err
		}
		gone, err = r.release(ctx, found, apps)
		return err
	}
	if r.DryRun {
		err = work(ctx)
	} else {
		err = locked(ctx, r.Client, r.Name, r.Waiting, work)
	}
	return gone, err
}

// get is the namespace, if it is a preview that is to be removed; else nil.
func (r Removal) get(ctx context.Context) (*corev1.Namespace, error) {
	found, err := get(ctx, r.Client, r.Name)
	if err != nil || found == nil || !isPreview(found, r.Target) || !r.Now.IsZero() && !HasExpired(found, r.Now) {
		return nil, err
	}
	return found, nil
}

// release takes the marks of the apps off the namespace, and deletes it when they were
// the last. One that was renewed since it was read stays.
func (r Removal) release(ctx context.Context, read *corev1.Namespace, apps []string) (gone bool, err error) {
	for found := read; ; {
		gone, err = r.tryRelease(ctx, found, apps)
		if !apierrors.IsConflict(err) {
			return gone, err
		}
		if found, err = get(ctx, r.Client, r.Name); err != nil || found == nil {
			return true, err
		}
		if found.UID != read.UID || found.Annotations[marks.Expires] != read.Annotations[marks.Expires] {
			return false, protocol.Retryable("preview namespace %s was renewed while it was being removed, and stays", r.Name).
				WithHint("what was released to it meanwhile may have been removed: release it again")
		}
	}
}

// tryRelease is [Removal.release] for the namespace as it was read.
func (r Removal) tryRelease(ctx context.Context, found *corev1.Namespace, apps []string) (gone bool, err error) {
	client := r.Client.CoreV1().Namespaces()
	left := slices.DeleteFunc(Apps(found), func(app string) bool { return slices.Contains(apps, app) })
	switch {
	case r.DryRun:
		return len(left) == 0, nil
	case len(left) > 0:
		for _, app := range apps {
			delete(found.Annotations, marks.PreviewApp+app)
		}
		if _, err = client.Update(ctx, found, metav1.UpdateOptions{}); err != nil {
			err = fmt.Errorf("update preview namespace %s: %w", r.Name, err)
		}
		return false, err
	}
	err = client.Delete(ctx, r.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &found.UID, ResourceVersion: &found.ResourceVersion}})
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("delete preview namespace %s: %w", r.Name, err)
	}
	return true, nil
}

// AwaitGone waits until the namespace is gone, with everything in it.
func AwaitGone(ctx context.Context, client kubernetes.Interface, name string) error {
	for {
		found, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) || err == nil && found.DeletionTimestamp == nil:
			return nil // or there is another of that name
		case err != nil:
			return fmt.Errorf("read namespace %s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			return protocol.Retryable("namespace %s %w, and not gone yet", name, conn.ErrTerminating).
				WithHint("see what holds it: kubectl get namespace %s -o jsonpath='{.status.conditions}'", name)
		case <-time.After(time.Second):
		}
	}
}
