// Package namespace prepares the namespace of a target.
package namespace

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/marks"
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

// Wanted is what an app needs of its namespace.
type Wanted struct {
	Name string
	// Labels are those that the namespace must have; others are left alone.
	Labels map[string]string
	// Release is the Helm release that has the namespace among its objects, if any:
	// made with the release's marks, Helm takes it for its own.
	Release string
	// PullSecret is to be in the namespace; nil for none.
	PullSecret *corev1.Secret
}

// Login is what a kubelet logs in to a registry with.
type Login struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// PullSecret makes the Secret with which a kubelet logs in to registries, or to
// repositories of them.
func PullSecret(name string, logins map[string]Login) (*corev1.Secret, error) {
	config, err := json.Marshal(map[string]map[string]Login{"auths": logins})
	if err != nil {
		return nil, err
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{marks.ManagedBy: marks.Harmony}},
		Type:       corev1.SecretTypeDockerConfigJson,
		Data:       map[string][]byte{corev1.DockerConfigJsonKey: config},
	}, nil
}

// Settled reports that the namespace is as wanted. It changes nothing.
func (w Wanted) Settled(ctx context.Context, client kubernetes.Interface) (bool, error) {
	found, err := read(ctx, client, w.Name)
	if err != nil && !apierrors.IsNotFound(err) {
		return false, err
	}
	for name, value := range w.Labels {
		if err != nil || found == nil || found.Labels[name] != value {
			return false, nil
		}
	}
	if w.PullSecret == nil {
		return true, nil
	}
	secret, err := client.CoreV1().Secrets(w.Name).Get(ctx, w.PullSecret.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil && w.hasCredentials(secret), err
}

func (w Wanted) hasCredentials(found *corev1.Secret) bool {
	return found.Type == w.PullSecret.Type && equality.Semantic.DeepEqual(found.Data, w.credentials(found))
}

// credentials are those that are wanted and, of other registries, those of the Secret
// that was found: other apps of the namespace may use it too.
func (w Wanted) credentials(found *corev1.Secret) map[string][]byte {
	type config struct {
		Auths map[string]json.RawMessage `json:"auths"`
	}
	var there, wanted config
	const key = corev1.DockerConfigJsonKey
	if json.Unmarshal(found.Data[key], &there) != nil || json.Unmarshal(w.PullSecret.Data[key], &wanted) != nil || there.Auths == nil {
		return maps.Clone(w.PullSecret.Data)
	}
	maps.Copy(there.Auths, wanted.Auths)
	merged, err := json.Marshal(there)
	if err != nil {
		return maps.Clone(w.PullSecret.Data)
	}
	return map[string][]byte{key: merged}
}

// Ensure makes the namespace unless it exists, and brings it to what is wanted.
func (w Wanted) Ensure(ctx context.Context, client kubernetes.Interface) error {
	if err := w.make(ctx, client); err != nil {
		return err
	}
	if len(w.Labels) > 0 {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": w.Labels}})
		if err != nil {
			return err
		}
		if _, err := client.CoreV1().Namespaces().Patch(ctx, w.Name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("label namespace %s: %w", w.Name, err)
		}
	}
	if w.PullSecret == nil {
		return nil
	}
	return w.ensureSecret(ctx, client)
}

func (w Wanted) make(ctx context.Context, client kubernetes.Interface) error {
	if _, err := read(ctx, client, w.Name); !apierrors.IsNotFound(err) {
		return err
	}
	fresh := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.Name}}
	if w.Release != "" {
		fresh.Labels = map[string]string{marks.ManagedBy: "Helm"}
		fresh.Annotations = map[string]string{"meta.helm.sh/release-name": w.Release, "meta.helm.sh/release-namespace": w.Name}
	}
	_, err := client.CoreV1().Namespaces().Create(ctx, fresh, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create namespace %s: %w", w.Name, err)
	}
	return nil
}

func (w Wanted) ensureSecret(ctx context.Context, client kubernetes.Interface) error {
	secrets := client.CoreV1().Secrets(w.Name)
	name := w.PullSecret.Name
	_, err := secrets.Create(ctx, w.PullSecret, metav1.CreateOptions{})
	if err == nil {
		return nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create pull secret %s: %w", name, err)
	}
	found, err := secrets.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read pull secret %s: %w", name, err)
	}
	switch {
	case w.hasCredentials(found):
		return nil
	case found.Labels[marks.ManagedBy] != marks.Harmony || found.Type != w.PullSecret.Type:
		return protocol.Invalid("secret %s in namespace %s is not harmony's: it has other content, and no label %s=harmony", name, w.Name, marks.ManagedBy).
			WithHint("choose another name for pullSecret in the topology")
	}
	found.Data = w.credentials(found)
	if _, err := secrets.Update(ctx, found, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("update pull secret %s: %w", name, err)
	}
	return nil
}
