package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/cluster/drift"
	"github.com/nationtech/harmony/internal/cluster/manifest"
)

// Preview asks an API server what would become of the objects of a chart, by dry
// runs. It changes nothing.
type Preview struct {
	manifest.Space
	// Mark adds what the deliverer writes on its objects; it may be nil.
	Mark func(*unstructured.Unstructured)
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
			if _, err := p.difference(ctx, original, object, fresh); isRefusal(err) {
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

// fresh reports that the namespace is yet to be made: nothing can be tried in it.
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

// difference asks the API server what would become of one object.
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
