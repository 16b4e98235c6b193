package argocd

import (
	"context"

	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Status tells what the Application says of the app, wherever the Application
// lies, and whether its image is what runs.
func (a *adapter) Status(ctx context.Context, app protocol.AppSpec, target string) ([]status.Entry, error) {
	d, err := a.prepare(app, target, protocol.ImageRef{Metadata: app.Metadata}, protocol.ChartRef{Metadata: app.Metadata})
	if err != nil {
		return nil, err
	}
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	e, err := d.status(ctx)
	if err != nil {
		return nil, d.explain(ctx, err)
	}
	e.App, e.Target, e.Context, e.Namespace = app.Name, target, d.destination.Context, d.destination.Namespace
	return []status.Entry{e}, nil
}

func (d *deployment) status(ctx context.Context) (status.Entry, error) {
	found, err := d.argo.get(ctx)
	if err != nil {
		return status.Entry{}, err
	}
	if found == nil {
		return status.Entry{State: status.Absent}, nil
	}
	e := found.Entry()
	now := releaseOf(found)
	if now.Image == "" || found.Status.Health.Status != api.Healthy {
		return e, nil
	}
	if d.image, err = now.image(d.image); err != nil {
		return status.Entry{}, err
	}
	runs, err := d.running(ctx, found)
	if err != nil {
		return status.Entry{}, err
	}
	// What somebody changed is told as drift.
	e.Healthy, e.Message = runs, ""
	if !runs {
		e.Message = "Argo CD finds it healthy, but its pods do not all run " + now.Image + ", and ready"
	}
	return e, nil
}
