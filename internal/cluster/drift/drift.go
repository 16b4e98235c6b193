// Package drift finds what somebody changed by hand of the objects that a Helm
// release is made of, without changing anything.
package drift

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	jsonpatch "github.com/evanphx/json-patch"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/cluster/manifest"
)

// Finder finds drift in a namespace.
type Finder struct {
	manifest.Space
	// Ignore are JSON pointers of fields that others may change:
	// /spec/replicas.
	Ignore []string
}

// atOnce is how many objects are compared in parallel.
const atOnce = 8

// Find names the objects that are gone or that somebody changed, so that an
// upgrade would mend them, in the order given.
func (f Finder) Find(ctx context.Context, objects []*unstructured.Unstructured) ([]string, error) {
	s := f.scalers(nil, objects)
	found := make([]string, len(objects))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, object := range objects {
		group.Go(func() (err error) {
			found[i], err = s.look(ctx, object)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(name string) bool { return name == "" }), nil
}

// look compares one object with what runs, by the patch that Helm would send:
// what that leaves alone, such as a field that another controller added, is no
// drift. A patch that is not empty may still change nothing, for the server
// writes values its own way; it is asked without changing anything.
func (s *scalers) look(ctx context.Context, wanted *unstructured.Unstructured) (string, error) {
	name := wanted.GetKind() + " " + wanted.GetName()
	resource, _, err := s.Resource(wanted)
	if meta.IsNoMatchError(err) {
		return name + " is gone, and its kind", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for %s: %w", name, err)
	}
	live, err := resource.Get(ctx, wanted.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		if _, expires, _ := unstructured.NestedFieldNoCopy(wanted.Object, "spec", "ttlSecondsAfterFinished"); expires && wanted.GetKind() == "Job" {
			return "", nil
		}
		return name + " is gone", nil
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	kind, patch, err := Patch(wanted, wanted, live)
	if err != nil {
		return "", fmt.Errorf("compare %s: %w", name, err)
	}
	if patch == nil {
		return "", nil
	}
	after, err := resource.Patch(ctx, wanted.GetName(), kind, patch, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		// What the server refuses now it will refuse the upgrade, and say why.
		return name + " was changed", nil
	}
	return s.compare(ctx, name, live, after)
}

// compare reports whether the dry run changes anything that counts as drift.
func (s *scalers) compare(ctx context.Context, name string, live, after *unstructured.Unstructured) (string, error) {
	a, b := s.essence(live), s.essence(after)
	if equality.Semantic.DeepEqual(a, b) {
		return "", nil
	}
	t, err := s.in(ctx, s.NamespaceOf(live))
	if err != nil {
		return "", fmt.Errorf("compare %s: %w", name, err)
	}
	if t.names(live) || t.owns(live) || s.scaledDown(live) {
		unstructured.RemoveNestedField(a, "spec", "replicas")
		unstructured.RemoveNestedField(b, "spec", "replicas")
		if equality.Semantic.DeepEqual(a, b) {
			return "", nil
		}
	}
	return name + " was changed", nil
}

// Patch is the patch that Helm would send to bring a live object from its previous
// revision to the wanted one, nil for none: a three-way patch for the kinds of
// Kubernetes, a two-way one for custom resources, which Helm does not compare
// with the cluster.
func Patch(original, wanted, live *unstructured.Unstructured) (types.PatchType, []byte, error) {
	var encoded [3][]byte
	for i, object := range []*unstructured.Unstructured{original, wanted, live} {
		var err error
		if encoded[i], err = json.Marshal(object); err != nil {
			return "", nil, err
		}
	}
	kind := types.MergePatchType
	patch, err := jsonpatch.CreateMergePatch(encoded[0], encoded[1])
	if typed, failed := scheme.Scheme.New(wanted.GroupVersionKind()); failed == nil {
		kind = types.StrategicMergePatchType
		schema, failed := strategicpatch.NewPatchMetaFromStruct(typed)
		if failed != nil {
			return "", nil, failed
		}
		patch, err = strategicpatch.CreateThreeWayMergePatch(encoded[0], encoded[1], encoded[2], schema, true)
	}
	if err != nil || string(patch) == "{}" {
		return "", nil, err
	}
	return kind, patch, nil
}

// essence is what a person could have changed.
func (f Finder) essence(object *unstructured.Unstructured) map[string]any {
	content := difference.Essence(object)
	for _, pointer := range f.Ignore {
		remove(content, strings.Split(strings.TrimPrefix(pointer, "/"), "/"))
	}
	return content
}

// remove takes the field of a JSON pointer out, where there is one.
func remove(value any, path []string) {
	name := strings.NewReplacer("~1", "/", "~0", "~").Replace(path[0])
	switch v := value.(type) {
	case map[string]any:
		if len(path) == 1 {
			delete(v, name)
			return
		}
		remove(v[name], path[1:])
	case []any:
		for i, member := range v {
			if name != fmt.Sprint(i) {
				continue
			}
			if len(path) == 1 {
				v[i] = nil
				return
			}
			remove(member, path[1:])
		}
	}
}
