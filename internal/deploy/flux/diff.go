package flux

import (
	"context"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Diff implements [delivery.Adapter]: it lists what becomes of the chart's objects when
// Flux applies them, whoever made the HelmRelease. Hooks are not among them.
func (a *adapter) Diff(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) ([]difference.Object, error) {
	d, err := a.prepare(ctx, app, target, image, chart)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, d.settings.timeout)
	defer cancel()
	objects, err := d.differences(bounded)
	d.MaskIn(objects)
	return objects, d.Explained(ctx, d.Conn, d.settings.timeout, err)
}

func (d *deployment) differences(ctx context.Context) ([]difference.Object, error) {
	s, err := d.get(ctx, releases, d.Namespace, d.App.Name)
	if err != nil {
		return nil, err
	}
	var before []*unstructured.Unstructured
	if s.exists() {
		r, err := d.read(ctx, s, s.revision())
		if err != nil {
			return nil, err
		}
		if r != nil {
			before = r.objects
		}
	}
	return d.Differences(ctx, before, d.mark)
}

// mark labels an object of the chart as helm-controller does.
func (d *deployment) mark(o *unstructured.Unstructured) {
	labels := maps.Clone(o.GetLabels())
	if labels == nil {
		labels = map[string]string{}
	}
	labels[releases.Group+"/name"], labels[releases.Group+"/namespace"] = d.App.Name, d.Namespace
	o.SetLabels(labels)
}
