package flux

import (
	"context"
	"errors"

	"github.com/nationtech/harmony/internal/cluster/namespace"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Migrate implements [capability.Migrator].
func (a *adapter) Migrate(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.MigrationReport, error) {
	d, err := a.prepare(ctx, app, target, image, chart)
	if err != nil {
		return protocol.MigrationReport{}, err
	}
	return delivery.Migration{
		Call: &d.Call, Adapter: Name, Lock: d.lock(nil), Around: namespace.Wanted{Name: d.Namespace},
		May: func(ctx context.Context) error {
			now, err := d.compare(ctx)
			if err != nil && !errors.Is(err, errDeleting) {
				return err
			}
			return d.mayReplace(now.release)
		},
	}.Run(ctx)
}
