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
	at, err := expiry(n)
	return err == nil && !now.Before(at)
}

func expiry(n *corev1.Namespace) (time.Time, error) {
	return time.Parse(time.RFC3339, n.Annotations[marks.Expires])
}

// Expired are the previews of a project on a target whose time has passed, and that
// are not being removed already. It tells warn of those whose time cannot be read.
func Expired(ctx context.Context, client kubernetes.Interface, project, target string, now time.Time, warn func(string)) ([]corev1.Namespace, error) {
	chosen := labels.SelectorFromSet(labels.Set{marks.ManagedBy: marks.Harmony, marks.Preview: target})
	list, err := client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: chosen.String()})
	if err != nil {
		return nil, fmt.Errorf("list the previews of target %s: %w", target, err)
	}
	var expired []corev1.Namespace
	for _, n := range list.Items {
		if n.DeletionTimestamp != nil || Of(&n).Project != project {
			continue
		}
		if _, err := expiry(&n); err != nil {
			warn(fmt.Sprintf("preview %s never expires: its annotation %s is %.40q, and not a time such as %s", n.Name, marks.Expires, n.Annotations[marks.Expires], now.UTC().Format(time.RFC3339)))
		}
		if HasExpired(&n, now) {
			expired = append(expired, n)
		}
	}
	return expired, nil
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
