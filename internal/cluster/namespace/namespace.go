// Package namespace prepares the namespace of a target.
package namespace

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Check fails for a namespace that is being deleted: what is in it, healthy or not,
// is about to go. That is an error of status protocol.ExitRetryable.
func Check(ctx context.Context, client kubernetes.Interface, name string) error {
	if _, err := read(ctx, client, name); !apierrors.IsNotFound(err) {
		return err
	}
	return nil
}

// read is the namespace; nil when it may not be seen, and then taken to exist: what
// follows says more.
func read(ctx context.Context, client kubernetes.Interface, name string) (*corev1.Namespace, error) {
	found, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read namespace %s: %w", name, err)
	case found.DeletionTimestamp != nil || found.Status.Phase == corev1.NamespaceTerminating:
		return nil, protocol.Retryable("namespace %s %w", name, conn.ErrTerminating).
			WithHint("run it again when it is gone; if it stays, this says why: kubectl get namespace %s -o jsonpath='{.status.conditions}'", name)
	}
	return found, nil
}

// Ensure makes the namespace unless it exists.
func Ensure(ctx context.Context, client kubernetes.Interface, name string) error {
	return Wanted{Name: name}.Ensure(ctx, client)
}
