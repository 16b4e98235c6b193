package argocd

import (
	"context"

	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Diff implements [delivery.Adapter]: it lists what becomes of the chart's objects when
// Argo CD applies them, whoever made the Application. Objects that the chart no longer
// has are not among them, and neither are hooks.
func (a *adapter) Diff(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) ([]difference.Object, error) {
	if err := a.check(app, image, chart); err != nil {
		return nil, err
	}
	d, err := a.prepare(app, target, image, chart)
	if err != nil {
		return nil, err
	}
	bounded, cancel := d.bounded(ctx)
	defer cancel()
	objects, err := d.Differences(bounded, nil, nil)
	return objects, d.explain(ctx, err)
}
