package helm

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	argo "github.com/nationtech/harmony/internal/deploy/argocd/api"
	flux "github.com/nationtech/harmony/internal/deploy/flux/api"
	"github.com/nationtech/harmony/internal/deploy/status"
)

// controllers lists the Flux HelmReleases and the Argo CD Applications through
// which an app is delivered to a namespace. A cluster without them has none.
func controllers(ctx context.Context, client dynamic.Interface, namespace, app string) ([]status.Entry, error) {
	var releases, applications []unstructured.Unstructured
	var group errgroup.Group
	group.Go(func() (err error) { releases, err = list(ctx, client, flux.Releases); return err })
	group.Go(func() (err error) { applications, err = list(ctx, client, argo.Applications); return err })
	err := group.Wait()
	var found []status.Entry
	// What cannot be read of others' objects is not of interest.
	for _, object := range releases {
		if r, err := flux.Read(&object); err == nil && r.Delivers(namespace, app) {
			found = append(found, r.Entry())
		}
	}
	for _, object := range applications {
		if a, err := argo.New(&object); err == nil && a.Delivers(namespace, app) {
			found = append(found, a.Entry())
		}
	}
	return found, err
}

// list reads all objects of a kind; none where the kind is not served, or may not
// be read.
func list(ctx context.Context, client dynamic.Interface, of schema.GroupVersionResource) ([]unstructured.Unstructured, error) {
	all, err := client.Resource(of).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", of.Resource, err)
	}
	return all.Items, nil
}
