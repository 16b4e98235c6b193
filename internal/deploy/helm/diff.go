package helm

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/kube"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/cluster/drift"
	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// plan says what would be done. Where the chart is there already, the API server
// is asked to try every object, so that what it would refuse is reported now.
func (d *deployment) plan(ctx context.Context, last *release.Release) (protocol.DeployResult, error) {
	if d.Chart.Digest != "" && !d.Chart.Planned && d.Image.AllPinned() && !d.applied(last) {
		p, err := d.render(ctx, last)
		if err != nil {
			return protocol.DeployResult{}, err
		}
		if _, err := d.claiming(p).Differences(ctx, p.before, p.objects); err != nil {
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
	d, err := a.prepare(ctx, app, target, image, chart)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, a.settings.timeout)
	defer cancel()
	last, err := d.last(ctx)
	if err != nil {
		return nil, d.Explain(err)
	}
	objects, err := d.differences(ctx, last)
	d.MaskIn(objects)
	return objects, d.Values.Masked(d.Explain(err))
}

func (d *deployment) differences(ctx context.Context, last *release.Release) ([]difference.Object, error) {
	p, err := d.render(ctx, last)
	if err != nil {
		return nil, err
	}
	return d.preview(p).Differences(ctx, p.before, p.objects)
}

// preview asks the API server for the result of applying a chart's objects.
func (d *deployment) preview(p prepared) delivery.Preview {
	return delivery.Preview{Space: d.Space(), Mark: d.own, Source: p.source, BringsKinds: len(p.chart.CRDObjects()) > 0}
}

// own marks an object as Helm marks its own.
func (d *deployment) own(o *unstructured.Unstructured) {
	labels, annotations := o.GetLabels(), o.GetAnnotations()
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	labels["app.kubernetes.io/managed-by"] = "Helm"
	annotations["meta.helm.sh/release-name"], annotations["meta.helm.sh/release-namespace"] = d.App.Name, d.Namespace
	o.SetLabels(labels)
	o.SetAnnotations(annotations)
}

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
