// Package removal knows what becomes of a release's objects when it is
// uninstalled: which go, which stay, when they are gone, and what holds them.
package removal

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// PolicyAnnotation is Helm's annotation for objects that it does not delete, and
// PolicyKeep its value.
const (
	PolicyAnnotation = "helm.sh/resource-policy"
	PolicyKeep       = "keep"
)

// MarkedKept reports an object that its chart keeps.
func MarkedKept(o *unstructured.Unstructured) bool { return o.GetAnnotations()[PolicyAnnotation] != "" }

// HoldsOthers reports an object with which others would be deleted that are not
// the release's: a Namespace or a CustomResourceDefinition.
func HoldsOthers(o *unstructured.Unstructured) bool {
	group := o.GroupVersionKind().Group
	return group == "" && o.GetKind() == "Namespace" || group == "apiextensions.k8s.io" && o.GetKind() == "CustomResourceDefinition"
}

// Plan is what an uninstall does with the objects of a release.
type Plan struct {
	Space manifest.Space
	// App is the release's, for messages.
	App string
	// Goes are the objects that are deleted.
	Goes []*unstructured.Unstructured
	// Stays are those that may be left, such as what the chart keeps.
	Stays []*unstructured.Unstructured
}

// Of sorts the objects of a release into those that go and those that stay.
func Of(space manifest.Space, app string, objects []*unstructured.Unstructured) Plan {
	p := Plan{Space: space, App: app}
	for _, o := range objects {
		if MarkedKept(o) || HoldsOthers(o) {
			p.Stays = append(p.Stays, o)
		} else {
			p.Goes = append(p.Goes, o)
		}
	}
	return p
}

// Removed names the objects that go.
func (p Plan) Removed() []protocol.ObjectRef {
	var list []protocol.ObjectRef
	for _, o := range p.Goes {
		list = append(list, p.reference(o))
	}
	return list
}

// Kept names what stays and is on the cluster: the objects that stay, and the
// volume claims of StatefulSets.
func (p Plan) Kept(ctx context.Context) ([]protocol.ObjectRef, error) {
	var kept []protocol.ObjectRef
	for _, o := range p.Stays {
		found, err := p.get(ctx, o)
		if err != nil && !apierrors.IsForbidden(err) {
			return nil, err
		}
		if (found != nil && found.GetDeletionTimestamp() == nil) || err != nil {
			kept = append(kept, p.reference(o))
		}
	}
	claims, err := p.claims(ctx)
	kept = append(kept, claims...)
	slices.SortFunc(kept, func(a, b protocol.ObjectRef) int {
		return strings.Compare(a.Namespace+" "+a.String(), b.Namespace+" "+b.String())
	})
	return slices.Compact(kept), err
}

// claims are the volume claims that StatefulSets among the objects have made.
// Kubernetes names them TEMPLATE-STATEFULSET-ORDINAL.
func (p Plan) claims(ctx context.Context) ([]protocol.ObjectRef, error) {
	var found []protocol.ObjectRef
	for _, o := range slices.Concat(p.Goes, p.Stays) {
		templates, _, _ := unstructured.NestedSlice(o.Object, "spec", "volumeClaimTemplates")
		if o.GetKind() != "StatefulSet" || len(templates) == 0 {
			continue
		}
		list, err := p.in(o, "persistentvolumeclaims").List(ctx, metav1.ListOptions{})
		if apierrors.IsForbidden(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list the volume claims of namespace %s: %w", p.Space.NamespaceOf(o), err)
		}
		for _, claim := range list.Items {
			if claim.GetDeletionTimestamp() == nil && isClaim(templates, o.GetName(), claim.GetName()) {
				claim.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "PersistentVolumeClaim"})
				found = append(found, p.reference(&claim))
			}
		}
	}
	return found, nil
}

// isClaim reports a name that a StatefulSet gives to a claim of its templates.
func isClaim(templates []any, set, name string) bool {
	return slices.ContainsFunc(templates, func(template any) bool {
		fields, _ := template.(map[string]any)
		of, _, _ := unstructured.NestedString(fields, "metadata", "name")
		ordinal, ok := strings.CutPrefix(name, of+"-"+set+"-")
		return ok && ordinalPattern.MatchString(ordinal)
	})
}

var ordinalPattern = regexp.MustCompile(`^[0-9]+$`)

// in is a resource of the core group in the namespace of an object.
func (p Plan) in(o *unstructured.Unstructured, resource string) dynamic.ResourceInterface {
	return p.Space.Dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: resource}).Namespace(p.Space.NamespaceOf(o))
}

// get reads an object; nil if it does not exist, or its kind does not.
func (p Plan) get(ctx context.Context, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	resource, _, err := p.Space.Resource(o)
	if meta.IsNoMatchError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found, err := resource.Get(ctx, o.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", p.reference(o), err)
	}
	return found, nil
}

// Reference names an object, in the namespace that it names itself.
func Reference(o *unstructured.Unstructured) protocol.ObjectRef {
	kind := o.GroupVersionKind()
	r := protocol.ObjectRef{Resource: strings.ToLower(kind.Kind), Name: o.GetName(), Namespace: o.GetNamespace()}
	if kind.Group != "" {
		r.Resource += "." + kind.Group
	}
	return r
}

func (p Plan) reference(o *unstructured.Unstructured) protocol.ObjectRef {
	kind, r := o.GroupVersionKind(), Reference(o)
	r.Namespace = p.Space.NamespaceOf(o)
	if mapping, err := p.Space.Mapper.RESTMapping(kind.GroupKind(), kind.Version); err == nil && mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		r.Namespace = ""
	}
	return r
}
