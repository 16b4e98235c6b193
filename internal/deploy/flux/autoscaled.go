package flux

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/drift"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/flux/api"
)

// checked looks at what Flux would apply, before the HelmRelease is written: what
// the API server would refuse is an error, and what an autoscaler scales keeps
// its replicas. A chart that cannot be rendered here is left to Flux.
func (d *deployment) checked(ctx context.Context, p *parts) error {
	if !p.release.differs || d.isForeign(p.release.seen) {
		return nil
	}
	var before []*unstructured.Unstructured
	if p.release.seen.exists() {
		r, err := d.read(ctx, p.release.seen, p.release.seen.revision())
		if err != nil {
			return err
		}
		if r != nil {
			before = r.objects
		}
	}
	rendered, err := delivery.Render(ctx, d.Discovery, d.App, d.Target, d.Namespace, d.Chart, d.Values, before == nil)
	if err != nil {
		d.Say("warning", "the chart is not checked before Flux gets it: %s", err.Error())
	}
	found := drift.Finder{Space: d.Space()}
	scaled, err := found.Scaled(ctx, append(rendered.Objects, before...))
	if err != nil {
		return err
	}
	api.LeaveReplicas(p.release.want, scaled, d.settings.driftIgnore)
	if _, err := found.KeepReplicas(ctx, before, rendered.Objects); err != nil {
		return err
	}
	preview := delivery.Preview{Space: d.Space(), Source: rendered.Source, BringsKinds: rendered.BringsKinds}
	return preview.Check(ctx, before, rendered.Objects)
}
