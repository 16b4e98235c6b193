package helm

import (
	"context"

	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Migrate implements [capability.Migrator].
func (a *adapter) Migrate(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.MigrationReport, error) {
	d, err := a.prepare(ctx, app, target, image, chart)
	if err != nil {
		return protocol.MigrationReport{}, err
	}
	if d.pullSecret, err = d.credentials(ctx); err != nil {
		return protocol.MigrationReport{}, err
	}
	return delivery.Migration{
		Call: &d.Call, Adapter: Name, Lock: d.lock(), Around: d.surroundings(),
		May: func(ctx context.Context) error {
			last, err := d.last(ctx)
			if err != nil {
				return err
			}
			return d.mayChange(ctx, last)
		},
	}.Run(ctx)
}
