package pack

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// noCluster answers a template's lookup as Helm does where there is no cluster:
// nothing is there. It remembers that it was asked.
type noCluster struct {
	dynamic.NamespaceableResourceInterface
	asked *bool
}

// GetClientFor implements Helm's engine.ClientProvider.
func (n noCluster) GetClientFor(string, string) (dynamic.NamespaceableResourceInterface, bool, error) {
	*n.asked = true
	return n, true, nil
}

// Namespace implements [dynamic.NamespaceableResourceInterface].
func (n noCluster) Namespace(string) dynamic.ResourceInterface { return n }

// Get implements [dynamic.ResourceInterface].
func (noCluster) Get(_ context.Context, name string, _ metav1.GetOptions, _ ...string) (*unstructured.Unstructured, error) {
	return nil, apierrors.NewNotFound(schema.GroupResource{}, name)
}

// List implements [dynamic.ResourceInterface].
func (noCluster) List(context.Context, metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	return nil, apierrors.NewNotFound(schema.GroupResource{}, "")
}
