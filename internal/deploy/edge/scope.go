package edge

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/kyaml/openapi"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/nationtech/harmony/pkg/protocol"
)

// place puts the objects that name no namespace into the app's, as Helm does. A
// custom resource that neither Kubernetes nor the chart defines is taken for one
// that lies in a namespace.
func place(objects, crds []*unstructured.Unstructured, namespace string) error {
	defined := slices.Concat(crds, objects)
	for _, object := range objects {
		if object.GetKind() == "" || object.GetAPIVersion() == "" {
			return protocol.Invalid("the chart gives an object without kind or apiVersion, %q", object.GetName())
		}
		if object.GetNamespace() == "" && isNamespaced(object, defined) {
			object.SetNamespace(namespace)
		}
	}
	return nil
}

func isNamespaced(object *unstructured.Unstructured, defined []*unstructured.Unstructured) bool {
	kind := object.GroupVersionKind()
	for _, crd := range defined {
		if crd.GetKind() != "CustomResourceDefinition" {
			continue
		}
		group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
		name, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
		if group == kind.Group && name == kind.Kind {
			scope, _, _ := unstructured.NestedString(crd.Object, "spec", "scope")
			return scope != "Cluster"
		}
	}
	namespaced, known := openapi.IsNamespaceScoped(kyaml.TypeMeta{APIVersion: object.GetAPIVersion(), Kind: object.GetKind()})
	return namespaced || !known
}
