package flux

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	applymeta "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/marks"
)

// valuesKey is the key of the Secret under which Flux finds the values, and nameLength
// how many characters at the end of its name stand for them.
const (
	valuesKey  = "values.yaml"
	nameLength = 12
)

// valuesPrefix begins the names of the Secrets with the app's values. Other values have
// another name: a HelmRelease goes from one to the other in one write, along with its
// chart, and Flux sees a new generation.
func (d *deployment) valuesPrefix() string { return d.App.Name + "-values-" }

// secretOf is the Secret of ours from which a HelmRelease has its values, or "".
func (d *deployment) secretOf(release *unstructured.Unstructured) string {
	from, _, _ := unstructured.NestedSlice(release.Object, "spec", "valuesFrom")
	if len(from) != 1 {
		return ""
	}
	only, _ := from[0].(map[string]any)
	name, _ := only["name"].(string)
	if only["kind"] != "Secret" || !strings.HasPrefix(name, d.valuesPrefix()) {
		return ""
	}
	return name
}

// valuesFrom is the Secret for the values, as a HelmRelease names it, or nil. Once some
// values are secret, all go there, and all later ones: a revision in Helm's history, to
// which the release may go back, has secrets too.
func (d *deployment) valuesFrom(now seen) []any {
	if len(d.Values.Encrypted) == 0 && (!now.exists() || d.secretOf(now.Unstructured) == "") {
		return nil
	}
	digest := strings.TrimPrefix(d.Values.Digest, "sha256:")
	name := cmp.Or(d.valuesName, d.valuesPrefix()+digest[:min(len(digest), nameLength)])
	return []any{map[string]any{"kind": "Secret", "name": name, "valuesKey": valuesKey}}
}

// valuesThere reports that the Secret of the wanted HelmRelease is there, with its
// values and its owner.
func (d *deployment) valuesThere(ctx context.Context, p part) (bool, error) {
	name := d.secretOf(p.want)
	if name == "" {
		return true, nil
	}
	secret, err := d.secret(ctx, name)
	if err != nil || secret == nil {
		return false, err
	}
	data, err := json.Marshal(d.Values.All)
	owned := len(secret.OwnerReferences) == 1 && secret.OwnerReferences[0].UID == p.seen.GetUID()
	return owned && string(secret.Data[valuesKey]) == string(data), err
}

// secret is nil when it does not exist.
func (d *deployment) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	found, err := d.Client.CoreV1().Secrets(d.Namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read Secret %s/%s: %w", d.Namespace, name, err)
	}
	return found, nil
}

// putValues writes the Secret of the wanted HelmRelease, which owns it as soon as it is
// there itself.
func (d *deployment) putValues(ctx context.Context, p part) error {
	name := d.secretOf(p.want)
	if name == "" {
		return nil
	}
	data, err := json.Marshal(d.Values.All)
	if err != nil {
		return fmt.Errorf("values: %w", err)
	}
	secret := applycore.Secret(name, d.Namespace).WithLabels(d.sourceLabels()).
		WithType(corev1.SecretTypeOpaque).WithData(map[string][]byte{valuesKey: data})
	if p.seen.exists() {
		secret.WithOwnerReferences(applymeta.OwnerReference().WithAPIVersion(releases.GroupVersion().String()).WithKind("HelmRelease").
			WithName(p.seen.GetName()).WithUID(p.seen.GetUID()))
	}
	return d.survive(ctx, func() error {
		_, err := d.Client.CoreV1().Secrets(d.Namespace).Apply(ctx, secret, metav1.ApplyOptions{FieldManager: marks.Harmony, Force: true})
		if err != nil {
			return fmt.Errorf("write Secret %s/%s: %w", d.Namespace, name, err)
		}
		return nil
	})
}

// givenValues are the values of a HelmRelease, which are in it or in our Secret.
func (d *deployment) givenValues(ctx context.Context, release seen) (map[string]any, error) {
	given, _, _ := unstructured.NestedMap(release.Object, "spec", "values")
	name := d.secretOf(release.Unstructured)
	if name == "" {
		return given, nil
	}
	secret, err := d.secret(ctx, name)
	if err != nil || secret == nil {
		return nil, err
	}
	if json.Unmarshal(secret.Data[valuesKey], &given) != nil {
		return nil, nil // somebody changed it; what the error quotes may be secret
	}
	return given, nil
}

// useRevision makes the values of a revision those of the deployment. Where they go into
// a Secret, nobody knows any more which of them are secret.
func (d *deployment) useRevision(ctx context.Context, current seen, config map[string]any) error {
	all, _ := values.Whole(config).(map[string]any)
	name := d.secretOf(current.Unstructured)
	if name == "" {
		d.Use(values.Set{All: all})
		return nil
	}
	d.Use(values.Secretly(d.App, d.Target, all))
	given, err := d.givenValues(ctx, current)
	if d.valuesName = name; err == nil && !sameValues(given, all) {
		// A hash of the values could be guessed at.
		d.valuesName = d.valuesPrefix() + strings.ToLower(rand.Text()[:nameLength])
	}
	return err
}

// hide keeps the values that a HelmRelease has in our Secret out of what is said of it.
func (d *deployment) hide(ctx context.Context, release seen) error {
	if d.secretOf(release.Unstructured) == "" {
		return nil
	}
	given, err := d.givenValues(ctx, release)
	d.Use(values.Secretly(d.App, d.Target, given))
	return err
}

// pruneValues deletes the Secrets with values of the app, except for one.
func (d *deployment) pruneValues(ctx context.Context, except string) error {
	client := d.Client.CoreV1().Secrets(d.Namespace)
	list, err := client.List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(d.sourceLabels()).String()})
	if err != nil {
		return fmt.Errorf("list the Secrets of %s: %w", d.App.Name, err)
	}
	for _, old := range list.Items {
		if old.Name == except || !strings.HasPrefix(old.Name, d.valuesPrefix()) {
			continue
		}
		err := client.Delete(ctx, old.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(old.UID))})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete Secret %s/%s: %w", d.Namespace, old.Name, err)
		}
	}
	return nil
}
