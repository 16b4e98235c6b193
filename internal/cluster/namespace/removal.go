package namespace

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/pkg/protocol"
)

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
// not make as a preview of the target is left alone, and so is one that was renewed, or
// that has expired and is being removed already.
func (r Removal) Run(ctx context.Context, only ...string) (gone bool, err error) {
	found, err := r.get(ctx)
	if !r.Now.IsZero() && conn.Terminating(err) {
		return false, nil // another process removes it
	}
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
	if err != nil && !r.Now.IsZero() && r.goes(ctx) {
		return false, nil // another process removes it
	}
	return gone, err
}

// goes reports that the namespace is gone, or about to be.
func (r Removal) goes(ctx context.Context) bool {
	found, err := get(ctx, r.Client, r.Name)
	return found == nil && err == nil || conn.Terminating(err)
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
