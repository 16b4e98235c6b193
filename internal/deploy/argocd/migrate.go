package argocd

import (
	"context"
	"errors"

	"github.com/nationtech/harmony/internal/cluster/namespace"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Migrate implements [capability.Migrator]. The lease is the one beside the Application.
func (a *adapter) Migrate(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.MigrationReport, error) {
	if err := a.check(app, image, chart); err != nil {
		return protocol.MigrationReport{}, err
	}
	d, err := a.prepare(app, target, image, chart)
	if err != nil {
		return protocol.MigrationReport{}, err
	}
	return delivery.Migration{
		Call: &d.Call, Adapter: Name, Lock: d.lock(d.argo.String(), nil), Around: namespace.Wanted{Name: d.Namespace},
		May: func(ctx context.Context) error {
			found, err := d.argo.get(ctx)
			if err != nil {
				return err
			}
			return errors.Join(d.admissible(found), d.MayReplace(releaseOf(found).Version))
		},
	}.Run(ctx)
}
