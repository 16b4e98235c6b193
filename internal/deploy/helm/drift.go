package helm

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/drift"
	"github.com/nationtech/harmony/internal/cluster/manifest"
)

// drift names the objects of the revision that are gone or that somebody
// changed, so that an upgrade would mend them. Fields of the JSON pointers are
// left out.
func (d *deployment) drift(ctx context.Context, r *release.Release, ignore ...string) ([]string, error) {
	objects, err := manifest.Parse(r.Manifest)
	if err != nil {
		return nil, fmt.Errorf("read the objects of release %s: %w", d.App.Name, err)
	}
	return drift.Finder{Space: d.Space(), Ignore: ignore}.Find(ctx, objects)
}

// keepReplicas leaves the replicas of objects as an autoscaler left them.
func (d *deployment) keepReplicas(ctx context.Context, before, objects []*unstructured.Unstructured) error {
	kept, err := drift.Finder{Space: d.Space()}.KeepReplicas(ctx, before, objects)
	for _, line := range kept {
		d.Say("apply", "%s", line)
	}
	return err
}

// autoscaling has Helm leave replicas as an autoscaler left them, on upgrades and
// rollbacks of this context.
func (d *deployment) autoscaling(ctx context.Context) {
	client, ok := d.config.KubeClient.(*kube.Client)
	if scaled, again := d.config.KubeClient.(autoscaling); again {
		client, ok = scaled.Client, true
	}
	if ok {
		d.config.KubeClient = autoscaling{client, func(before, objects kube.ResourceList) error {
			return d.keepReplicas(ctx, objectsOf(before), objectsOf(objects))
		}}
	}
}

// autoscaling is Helm's client with something to do before each update.
type autoscaling struct {
	*kube.Client
	keep func(before, objects kube.ResourceList) error
}

// Update is Helm's.
func (a autoscaling) Update(original, target kube.ResourceList, force bool) (*kube.Result, error) {
	if err := a.keep(original, target); err != nil {
		return &kube.Result{}, err
	}
	return a.Client.Update(original, target, force)
}

func objectsOf(list kube.ResourceList) []*unstructured.Unstructured {
	var objects []*unstructured.Unstructured
	for _, info := range list {
		if o, ok := info.Object.(*unstructured.Unstructured); ok {
			objects = append(objects, o)
		}
	}
	return objects
}
