package helm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/cli-runtime/pkg/resource"
)

// drift names the objects of the revision that are gone or that somebody
// changed, so that an upgrade would mend them.
func (d *deployment) drift(ctx context.Context, r *release.Release) ([]string, error) {
	infos, err := d.config.KubeClient.Build(bytes.NewBufferString(r.Manifest), false)
	if err != nil {
		return nil, fmt.Errorf("read the objects of release %s: %w", d.app.Name, err)
	}
	found := make([]string, len(infos))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, info := range infos {
		group.Go(func() (err error) {
			found[i], err = d.driftOf(ctx, info)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(s string) bool { return s == "" }), nil
}

// driftOf compares one object with what runs, by the patch that Helm would
// send: what that leaves alone, such as a field that another controller added,
// is no drift. A patch that is not empty may still change nothing, for the
// server writes values its own way; it is asked without changing anything.
func (d *deployment) driftOf(ctx context.Context, info *resource.Info) (string, error) {
	name := info.Mapping.GroupVersionKind.Kind + " " + info.Name
	helper := resource.NewHelper(info.Client, info.Mapping)
	live, err := helper.Get(info.Namespace, info.Name)
	if apierrors.IsNotFound(err) {
		if expires(info.Object) {
			return "", nil
		}
		return name + " is gone", nil
	}
	if err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	patch, err := patchFor(info, live)
	if err != nil {
		return "", fmt.Errorf("compare %s: %w", name, err)
	}
	if patch == nil {
		return "", nil
	}
	after, err := helper.DryRun(true).Patch(info.Namespace, info.Name, types.StrategicMergePatchType, patch, nil)
	if err != nil {
		// What the server refuses now it will refuse the upgrade, and say why.
		return name + " was changed", nil
	}
	if sameObject(live, after) {
		return "", nil
	}
	scaled, err := d.autoscaled(ctx, info)
	if err != nil {
		return "", fmt.Errorf("compare %s: %w", name, err)
	}
	if scaled && sameObject(withoutReplicas(live), withoutReplicas(after)) {
		return "", nil
	}
	return name + " was changed", nil
}

// autoscaled reports an object whose replicas are up to an autoscaler.
func (d *deployment) autoscaled(ctx context.Context, info *resource.Info) (bool, error) {
	list, err := d.client.AutoscalingV2().HorizontalPodAutoscalers(info.Namespace).List(ctx, metav1.ListOptions{})
	if apierrors.IsForbidden(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, scaler := range list.Items {
		target := scaler.Spec.ScaleTargetRef
		if target.Kind == info.Mapping.GroupVersionKind.Kind && target.Name == info.Name {
			return true, nil
		}
	}
	return false, nil
}

func withoutReplicas(object runtime.Object) runtime.Object {
	u, ok := object.(*unstructured.Unstructured)
	if !ok {
		return object
	}
	u = u.DeepCopy()
	unstructured.RemoveNestedField(u.Object, "spec", "replicas")
	return u
}

// patchFor is what Helm would send to bring the live object back; nil for none.
// Helm never mends custom resources, which it only compares with their last
// revision.
func patchFor(info *resource.Info, live runtime.Object) ([]byte, error) {
	versioned := kube.AsVersioned(info)
	if _, custom := versioned.(runtime.Unstructured); custom {
		return nil, nil
	}
	wanted, err := json.Marshal(info.Object)
	if err != nil {
		return nil, err
	}
	current, err := json.Marshal(live)
	if err != nil {
		return nil, err
	}
	schema, err := strategicpatch.NewPatchMetaFromStruct(versioned)
	if err != nil {
		return nil, err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(wanted, wanted, current, schema, true)
	if err != nil || string(patch) == "{}" {
		return nil, err
	}
	return patch, nil
}

// expires reports a Job that is deleted some time after its end.
func expires(object runtime.Object) bool {
	u, ok := object.(*unstructured.Unstructured)
	if !ok || u.GetKind() != "Job" {
		return false
	}
	_, ok, _ = unstructured.NestedFieldNoCopy(u.Object, "spec", "ttlSecondsAfterFinished")
	return ok
}

// sameObject compares what a person could have changed.
func sameObject(a, b runtime.Object) bool {
	return equality.Semantic.DeepEqual(essence(a), essence(b))
}

func essence(object runtime.Object) map[string]any {
	u, ok := object.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	u = u.DeepCopy()
	delete(u.Object, "status")
	for _, field := range []string{"managedFields", "resourceVersion", "generation"} {
		unstructured.RemoveNestedField(u.Object, "metadata", field)
	}
	return u.Object
}
