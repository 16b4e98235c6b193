package helm

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// crdPolicy is what is done with the CustomResourceDefinitions in a chart's
// folder crds. None of them ever deletes one, for its objects would go with it.
type crdPolicy string

const (
	// crdsCreate makes those that are missing, on an upgrade too.
	crdsCreate crdPolicy = "create"
	// crdsUpgrade also brings those that exist to what the chart has.
	crdsUpgrade crdPolicy = "upgrade"
	crdsSkip    crdPolicy = "skip"
)

// establishTime is how long the API server may take to serve a new kind.
const establishTime = 30 * time.Second

// discoveryPause is the time between two looks at what the API server lists.
const discoveryPause = 100 * time.Millisecond

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// ensureCRDs sees to the chart's CustomResourceDefinitions, and waits until the
// API server serves them.
func (d *deployment) ensureCRDs(ctx context.Context, c *chart.Chart) error {
	files := c.CRDObjects()
	if d.settings.crds == crdsSkip || len(files) == 0 {
		return nil
	}
	var made []*unstructured.Unstructured
	for _, file := range files {
		objects, err := manifest.Parse(string(file.File.Data))
		if err != nil {
			return protocol.Invalid("chart %q: %s: %w", c.Name(), file.Filename, err)
		}
		for _, object := range objects {
			changed, err := d.ensureCRD(ctx, d.Dynamic.Resource(definitions), object)
			if err != nil {
				return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
			}
			if changed {
				made = append(made, object)
			}
		}
	}
	if len(made) == 0 {
		return nil
	}
	return d.established(ctx, made)
}

// ensureCRD reports whether it changed anything.
func (d *deployment) ensureCRD(ctx context.Context, client dynamic.ResourceInterface, object *unstructured.Unstructured) (bool, error) {
	if object.GetKind() != "CustomResourceDefinition" {
		return false, protocol.Invalid("the folder crds is for CustomResourceDefinitions only")
	}
	if d.settings.crds == crdsCreate {
		_, err := client.Create(ctx, object, metav1.CreateOptions{FieldManager: marks.Harmony})
		if apierrors.IsAlreadyExists(err) {
			return false, nil
		}
		return err == nil, err
	}
	data, err := json.Marshal(object)
	if err != nil {
		return false, err
	}
	_, err = client.Patch(ctx, object.GetName(), types.ApplyPatchType, data, metav1.PatchOptions{FieldManager: marks.Harmony, Force: new(true)})
	return err == nil, err
}

// established waits until the kinds are served, and makes Helm discover them.
func (d *deployment) established(ctx context.Context, made []*unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, establishTime)
	defer cancel()
	policies := rollout.Policies{"CustomResourceDefinition": "condition=Established"}
	workloads, err := rollout.Objects(ctx, made, d.Space(), policies)
	if err != nil {
		return err
	}
	if err := rollout.Wait(ctx, d.Client, workloads, rollout.Options{Progress: delivery.Rollout(d.Progress, "crds")}); err != nil {
		return err
	}
	if err := d.discovered(ctx, kindsOf(made)); err != nil {
		return err
	}
	d.config.Capabilities, err = delivery.Capabilities(d.Discovery)
	return err
}

// discovered waits until the API server lists the kinds, which can be a moment after it
// says that they are established.
func (d *deployment) discovered(ctx context.Context, kinds []schema.GroupVersionKind) error {
	var missing error
	err := wait.PollUntilContextCancel(ctx, discoveryPause, true, func(context.Context) (bool, error) {
		d.Discovery.Invalidate()
		d.Mapper.Reset()
		for _, kind := range kinds {
			if _, missing = d.Mapper.RESTMapping(kind.GroupKind(), kind.Version); missing != nil {
				if meta.IsNoMatchError(missing) {
					return false, nil
				}
				return false, missing
			}
		}
		return true, nil
	})
	if err != nil && missing != nil {
		return fmt.Errorf("the API server does not serve what the chart defines: %w", missing)
	}
	return err
}

// kindsOf are the kinds that definitions serve.
func kindsOf(made []*unstructured.Unstructured) []schema.GroupVersionKind {
	var kinds []schema.GroupVersionKind
	for _, object := range made {
		group, _, _ := unstructured.NestedString(object.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(object.Object, "spec", "names", "kind")
		versions, _, _ := unstructured.NestedSlice(object.Object, "spec", "versions")
		for _, v := range versions {
			version, _ := v.(map[string]any)
			name, _ := version["name"].(string)
			if served, _ := version["served"].(bool); served {
				kinds = append(kinds, schema.GroupVersionKind{Group: group, Version: name, Kind: kind})
			}
		}
	}
	return kinds
}
