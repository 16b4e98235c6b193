package helm

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	jsonpatch "github.com/evanphx/json-patch"
	"golang.org/x/sync/errgroup"
	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// plan says what would be done. Where the chart is there already, the API server
// is asked to try every object, so that what it would refuse is told now.
func (d *deployment) plan(ctx context.Context, last *release.Release) (protocol.DeployResult, error) {
	if d.chart.Digest != "" && !d.chart.Planned && d.image.Digest != "" && !d.applied(last) {
		if _, err := d.differences(ctx, last); err != nil {
			return protocol.DeployResult{}, err
		}
	}
	if isGone(last) {
		return d.result(protocol.OutcomeInstalled, 0, record{}), nil
	}
	return d.result(protocol.OutcomeUpgraded, last.Version, recordOf(last)), nil
}

// Diff lists the objects of the app's chart with what they are on the cluster
// and what a deploy would make of them, by a dry run of the API server. Hooks
// are not among them.
func (a *adapter) Diff(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) ([]difference.Object, error) {
	d, err := a.open(app, target, image, chart)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.settings.timeout)
	defer cancel()
	last, err := lastRelease(ctx, d.cluster, d.config, d.app.Name)
	if err != nil {
		return nil, d.Explain(err)
	}
	objects, err := d.differences(ctx, last)
	if err != nil {
		return nil, d.Explain(err)
	}
	return objects, nil
}

func (d *deployment) differences(ctx context.Context, last *release.Release) ([]difference.Object, error) {
	prepared, err := d.render(ctx, last)
	if err != nil {
		return nil, err
	}
	before := map[string]*unstructured.Unstructured{}
	if !isGone(last) {
		objects, err := manifest.Parse(last.Manifest)
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			before[d.key(o)] = o
		}
	}
	fresh, err := d.withoutNamespace(ctx)
	if err != nil {
		return nil, err
	}
	found := make([]difference.Object, len(prepared.objects))
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, object := range prepared.objects {
		original := before[d.key(object)]
		delete(before, d.key(object))
		group.Go(func() (err error) {
			found[i], err = d.difference(asking, original, object, fresh, len(prepared.chart.CRDObjects()) > 0)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, object := range before {
		if object.GetAnnotations()[kube.ResourcePolicyAnno] == kube.KeepPolicy {
			continue
		}
		gone, err := d.deletion(object)
		if err != nil {
			return nil, err
		}
		found = append(found, gone)
	}
	return found, nil
}

func (d *deployment) key(o *unstructured.Unstructured) string {
	namespace := o.GetNamespace()
	if namespace == "" {
		namespace = d.Namespace
	}
	return o.GroupVersionKind().GroupKind().String() + "/" + namespace + "/" + o.GetName()
}

// withoutNamespace reports that the namespace is yet to be made: nothing can be
// tried in it.
func (d *deployment) withoutNamespace(ctx context.Context) (bool, error) {
	_, err := d.client.CoreV1().Namespaces().Get(ctx, d.Namespace, metav1.GetOptions{})
	if err == nil || apierrors.IsForbidden(err) {
		return false, nil
	}
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return false, err
}

// difference asks the API server what would become of one object.
func (d *deployment) difference(ctx context.Context, original, wanted *unstructured.Unstructured, fresh, bringsKinds bool) (difference.Object, error) {
	of := difference.Object{Kind: wanted.GetKind(), Name: wanted.GetName()}
	owned := d.owned(wanted)
	info, err := d.info(owned)
	if meta.IsNoMatchError(err) && bringsKinds {
		of.After = owned // of a kind that the chart brings itself
		return of, nil
	}
	if err != nil {
		return of, fmt.Errorf("%s: %w", of, err)
	}
	of.Namespace = info.Namespace
	if fresh && info.Namespaced() {
		of.After = owned
		return of, nil
	}
	helper := resource.NewHelper(info.Client, info.Mapping)
	live, err := helper.Get(info.Namespace, info.Name)
	var after runtime.Object
	switch {
	case apierrors.IsNotFound(err):
		after, err = helper.DryRun(true).Create(info.Namespace, true, owned)
	case err == nil:
		of.Before, _ = live.(*unstructured.Unstructured)
		after, err = d.patched(info, helper, original, owned, live)
	}
	if err != nil {
		return of, refused(of, err)
	}
	of.After, _ = after.(*unstructured.Unstructured)
	return of, ctx.Err()
}

// refused tells what the server has against an object as bad input.
func refused(of difference.Object, err error) error {
	if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
		return protocol.Invalid("%s: the API server would refuse it: %w", of, err)
	}
	return fmt.Errorf("%s: %w", of, err)
}

// owned is the object with the marks that Helm gives to what it owns.
func (d *deployment) owned(object *unstructured.Unstructured) *unstructured.Unstructured {
	o := object.DeepCopy()
	labels, annotations := o.GetLabels(), o.GetAnnotations()
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	labels["app.kubernetes.io/managed-by"] = "Helm"
	annotations["meta.helm.sh/release-name"], annotations["meta.helm.sh/release-namespace"] = d.app.Name, d.Namespace
	o.SetLabels(labels)
	o.SetAnnotations(annotations)
	return o
}

// info is Helm's handle of an object.
func (d *deployment) info(object *unstructured.Unstructured) (*resource.Info, error) {
	data, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	infos, err := d.config.KubeClient.Build(bytes.NewReader(data), false)
	if err != nil {
		return nil, err
	}
	if len(infos) != 1 {
		return nil, fmt.Errorf("%d objects instead of one", len(infos))
	}
	return infos[0], nil
}

// patched is the object after the patch that Helm would send.
func (d *deployment) patched(info *resource.Info, helper *resource.Helper, original, wanted *unstructured.Unstructured, live runtime.Object) (runtime.Object, error) {
	if original == nil {
		original = wanted
	}
	old, err := json.Marshal(original)
	if err != nil {
		return nil, err
	}
	new, err := json.Marshal(wanted)
	if err != nil {
		return nil, err
	}
	current, err := json.Marshal(live)
	if err != nil {
		return nil, err
	}
	patch, kind, err := helmPatch(kube.AsVersioned(info), old, new, current)
	if err != nil || string(patch) == "{}" {
		return live, err
	}
	return helper.DryRun(true).Patch(info.Namespace, info.Name, kind, patch, nil)
}

// helmPatch is the patch of Helm: of three ways for the kinds that it knows, of
// two for custom resources.
func helmPatch(versioned runtime.Object, old, new, current []byte) ([]byte, types.PatchType, error) {
	if _, custom := versioned.(runtime.Unstructured); custom {
		patch, err := jsonpatch.CreateMergePatch(old, new)
		return patch, types.MergePatchType, err
	}
	schema, err := strategicpatch.NewPatchMetaFromStruct(versioned)
	if err != nil {
		return nil, "", err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(old, new, current, schema, true)
	return patch, types.StrategicMergePatchType, err
}

// deletion is an object that the chart does not have any more.
func (d *deployment) deletion(object *unstructured.Unstructured) (difference.Object, error) {
	of := difference.Object{Kind: object.GetKind(), Name: object.GetName()}
	info, err := d.info(object)
	if meta.IsNoMatchError(err) {
		return of, nil
	}
	if err != nil {
		return of, fmt.Errorf("%s: %w", of, err)
	}
	of.Namespace = info.Namespace
	live, err := resource.NewHelper(info.Client, info.Mapping).Get(info.Namespace, info.Name)
	if apierrors.IsNotFound(err) {
		return of, nil
	}
	if err != nil {
		return of, fmt.Errorf("%s: %w", of, err)
	}
	of.Before, _ = live.(*unstructured.Unstructured)
	return of, nil
}
