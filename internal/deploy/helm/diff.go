package helm

import (
	"context"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// plan says what would be done. Where the chart is there already, the API server
// is asked to try every object, so that what it would refuse is told now.
func (d *deployment) plan(ctx context.Context, last *release.Release) (protocol.DeployResult, error) {
	if d.Chart.Digest != "" && !d.Chart.Planned && d.Image.Digest != "" && !d.applied(last) {
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
	d, err := a.prepare(app, target, image, chart)
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
	return objects, d.Explain(err)
}

func (d *deployment) differences(ctx context.Context, last *release.Release) ([]difference.Object, error) {
	p, err := d.render(ctx, last)
	if err != nil {
		return nil, err
	}
	return d.preview(p).Differences(ctx, p.before, p.objects)
}

// preview asks the API server what would become of a chart's objects.
func (d *deployment) preview(p prepared) delivery.Preview {
	return delivery.Preview{Space: d.Space(), Mark: d.own, Source: p.source, BringsKinds: len(p.chart.CRDObjects()) > 0}
}

// own marks an object as Helm marks what it owns.
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
