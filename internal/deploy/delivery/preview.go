package delivery

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/cluster/drift"
	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Preview asks an API server what would become of the objects of a chart, by dry
// runs. It changes nothing.
type Preview struct {
	manifest.Space
	// Mark adds what the deliverer writes on its objects; it may be nil.
	Mark func(*unstructured.Unstructured)
	// Claim fails for an object that is on the cluster, is not of the release before,
	// and may not become the release's; it may be nil, and is called side by side.
	Claim func(live *unstructured.Unstructured) error
	// Source is the template that an object is from, "" where that is not known.
	Source func(*unstructured.Unstructured) string
	// BringsKinds says that the chart brings kinds that may not be served yet.
	BringsKinds bool
}

// atOnce is how many objects are asked about in parallel.
const atOnce = 8

// Differences are the objects on the cluster and as they would become, in the
// order of the wanted ones, and those that would be deleted. before are the
// objects as they were applied last. What the server would refuse is an error.
func (p Preview) Differences(ctx context.Context, before, wanted []*unstructured.Unstructured) ([]difference.Object, error) {
	fresh, err := p.fresh(ctx)
	if err != nil {
		return nil, err
	}
	known := p.byKey(before)
	found := make([]difference.Object, len(wanted), len(wanted)+len(before))
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, object := range wanted {
		original := known[p.Key(object)]
		delete(known, p.Key(object))
		group.Go(func() (err error) {
			found[i], err = p.difference(asking, original, object, fresh)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, object := range before {
		if known[p.Key(object)] == nil || object.GetAnnotations()[keepPolicy] == "keep" {
			continue
		}
		of := difference.Object{Kind: object.GetKind(), Name: object.GetName()}
		resource, namespace, err := p.Resource(object)
		if of.Namespace = namespace; err == nil {
			of.Before, err = resource.Get(ctx, of.Name, metav1.GetOptions{})
		}
		if err != nil && !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
			return nil, fmt.Errorf("%s: %w", of, err)
		}
		found = append(found, of)
	}
	return found, nil
}

// keepPolicy is the annotation of objects that Helm does not delete.
const keepPolicy = "helm.sh/resource-policy"

// Check fails for objects that the server would refuse for certain, side by side,
// before anything is touched. Objects that are as they were are not asked about;
// what the server says for want of an object that comes first, such as a
// ServiceAccount, is no refusal.
func (p Preview) Check(ctx context.Context, before, wanted []*unstructured.Unstructured) error {
	fresh, err := p.fresh(ctx)
	if err != nil {
		return nil //nolint:nilerr // what follows says more
	}
	known := p.byKey(before)
	var group errgroup.Group
	group.SetLimit(atOnce)
	refusals := make([]error, len(wanted))
	for i, object := range wanted {
		original := known[p.Key(object)]
		if original != nil && reflect.DeepEqual(original.Object, object.Object) {
			continue
		}
		group.Go(func() error {
			if _, err := p.difference(ctx, original, object, fresh); errors.As(err, new(refusal)) {
				refusals[i] = err
			}
			return nil
		})
	}
	_ = group.Wait()
	return errors.Join(refusals...)
}

func (p Preview) byKey(objects []*unstructured.Unstructured) map[string]*unstructured.Unstructured {
	all := map[string]*unstructured.Unstructured{}
	for _, o := range objects {
		all[p.Key(o)] = o
	}
	return all
}

// fresh reports that the namespace does not exist yet, so that nothing can be tried in it.
func (p Preview) fresh(ctx context.Context) (bool, error) {
	_, err := p.Dynamic.Resource(namespaces).Get(ctx, p.Namespace, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if apierrors.IsForbidden(err) {
		err = nil
	}
	return false, err
}

func (p Preview) difference(ctx context.Context, original, wanted *unstructured.Unstructured, fresh bool) (difference.Object, error) {
	of := difference.Object{Kind: wanted.GetKind(), Name: wanted.GetName(), After: wanted.DeepCopy()}
	if p.Mark != nil {
		p.Mark(of.After)
	}
	resource, namespace, err := p.Resource(wanted)
	of.Namespace = namespace
	if meta.IsNoMatchError(err) && p.BringsKinds {
		return of, nil
	}
	if err == nil {
		err = wrongType(wanted)
	}
	if err != nil {
		return of, p.refused(of, wanted, err)
	}
	if fresh && of.Namespace == p.Namespace {
		return of, nil
	}
	live, err := resource.Get(ctx, of.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		of.After, err = resource.Create(ctx, of.After, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	case err == nil:
		of.Before = live
		if original == nil && p.Claim != nil {
			if err := p.Claim(live); err != nil {
				return of, refusal{err}
			}
		}
		kind, patch, failed := drift.Patch(cmp.Or(original, of.After), of.After, live)
		if of.After, err = live, failed; patch != nil {
			of.After, err = resource.Patch(ctx, of.Name, kind, patch, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		}
	}
	if err != nil {
		return of, p.refused(of, wanted, err)
	}
	return of, ctx.Err()
}

var namespaces = corev1.SchemeGroupVersion.WithResource("namespaces")

// refusal is an error with which the API server would certainly reject an object.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// refused says in one line what the server has against an object, in which field
// and from which template, and what to do. What is bad input for certain has the
// status protocol.ExitInvalid.
func (p Preview) refused(of difference.Object, wanted *unstructured.Unstructured, err error) error {
	where := of.String()
	if p.Source != nil {
		if file := p.Source(wanted); file != "" {
			where += " (" + file + ")"
		}
	}
	if !isFinal(err) {
		return fmt.Errorf("%s: %w", where, err)
	}
	text := reason(err)
	return refusal{protocol.Invalid("%s: the API server would refuse it: %s", where, text).WithHint("%s", advice(of, text))}
}

// isFinal reports an error that applying other objects first cannot prevent.
func isFinal(err error) bool {
	text := err.Error()
	var mismatch *json.UnmarshalTypeError
	switch {
	case strings.Contains(text, "dry run") || strings.Contains(text, "dryRun"):
		return false // a webhook or an API that cannot be asked
	case errors.As(err, &mismatch) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
		return true
	case !apierrors.IsForbidden(err):
		return false
	}
	for _, word := range []string{"exceeded quota", "denied", "violates PodSecurity"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// wrongType finds a number or a boolean where Kubernetes has a string, and the
// like: the server would answer with the whole object and without the field.
func wrongType(o *unstructured.Unstructured) error {
	typed, err := scheme.Scheme.New(o.GroupVersionKind())
	if err != nil {
		return nil //nolint:nilerr // a custom resource
	}
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	var mismatch *json.UnmarshalTypeError
	if err := json.Unmarshal(data, typed); errors.As(err, &mismatch) {
		return err
	}
	return nil
}

// shown bounds what is reported of a refusal, in characters and in fields.
const (
	shown  = 300
	causes = 3
)

// reason is the server's message without the object itself.
func reason(err error) string {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		return fmt.Sprintf("%s must be a %s, not a %s", mismatch.Field, mismatch.Type, mismatch.Value)
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil || len(status.Status().Details.Causes) == 0 {
		return term.Excerpt(err.Error(), shown)
	}
	var said []string
	all := status.Status().Details.Causes
	for _, c := range all[:min(len(all), causes)] {
		text := term.Excerpt(withoutValue(c), shown)
		if c.Field != "" && c.Field != "<nil>" {
			text = c.Field + ": " + text
		}
		said = append(said, text)
	}
	if more := len(all) - causes; more > 0 {
		said = append(said, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(said, "; ")
}

// withoutValue is the message of a cause without the value that it is about, which
// may be the whole object.
func withoutValue(c metav1.StatusCause) string {
	value, ok := strings.CutPrefix(c.Message, "Invalid value: ")
	if !ok {
		return c.Message
	}
	if quoted, err := strconv.QuotedPrefix(value); err == nil {
		value = strings.TrimPrefix(value[len(quoted):], ": ")
		if len(quoted) < shown/3 {
			return quoted + ": " + value
		}
		return value
	}
	if i := strings.LastIndex(value, "}: "); i >= 0 {
		return value[i+len("}: "):]
	}
	return value
}

func advice(of difference.Object, text string) string {
	kind := strings.ToLower(of.Kind)
	at := ""
	if of.Namespace != "" {
		at = " -n " + of.Namespace
	}
	remove := fmt.Sprintf("kubectl delete%s %s %s", at, kind, of.Name)
	switch {
	case strings.Contains(text, "must be a string"):
		return "quote it in the chart's template or in the values"
	case strings.Contains(text, "exceeded quota"):
		return "ask for less, or have the quota raised: kubectl describe quota" + at
	case strings.Contains(text, "denied") || strings.Contains(text, "violates"):
		return "change the object as the admission policy asks"
	case strings.Contains(text, "immutable") && kind == "job":
		return "make the Job a hook, put the version into its name, or delete it first: " + remove
	case strings.Contains(text, "immutable") || strings.Contains(text, "updates to "):
		return "leave the field as it is, or delete the object first: " + remove + " --cascade=orphan"
	}
	return "change it in the chart's template or in the values"
}
