package manifest

import (
	"cmp"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
)

// Space is a namespace of a cluster as the place of objects.
type Space struct {
	Dynamic dynamic.Interface
	Mapper  meta.RESTMapper
	// Namespace is that of objects without one.
	Namespace string
}

// NamespaceOf is the namespace that an object names, or else the space's.
func (s Space) NamespaceOf(o *unstructured.Unstructured) string {
	return cmp.Or(o.GetNamespace(), s.Namespace)
}

// Key identifies an object, whatever the version of its kind.
func (s Space) Key(o *unstructured.Unstructured) string {
	return o.GroupVersionKind().GroupKind().String() + "/" + s.NamespaceOf(o) + "/" + o.GetName()
}

// Resource is where the API server keeps an object, and its namespace, "" for a
// kind that is in none.
func (s Space) Resource(o *unstructured.Unstructured) (dynamic.ResourceInterface, string, error) {
	kind := o.GroupVersionKind()
	mapping, err := s.Mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, "", err
	}
	resource := s.Dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return resource, "", nil
	}
	return resource.Namespace(s.NamespaceOf(o)), s.NamespaceOf(o), nil
}
