package plugin

import (
	"context"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Migrate is the stage behind the command [protocol.CommandMigrate] of a deploy plugin. An
// app without migrations passes through it. An adapter that is no [capability.Migrator]
// refuses the others, with status protocol.ExitUnsupported. Its Features can have those of
// [Deploy].
func Migrate(version string, deliveries Adapters[capability.ContinuousDelivery]) Stage {
	return Stage{
		Name: capability.StageMigrate, Plugin: capability.StageDeploy, Version: version,
		Description:  "Run the migrations of apps on a target, before a deploy",
		Needs:        []protocol.Kind{protocol.KindAppSpec, protocol.KindImageRef, protocol.KindChartRef},
		Produces:     []protocol.Kind{protocol.KindMigrationReport},
		Capabilities: map[string][]string{capability.NameContinuousDelivery: deliveries.names()},
		Ordered:      true,
		Imageless:    true,
		Open:         toTarget(deliveries, migrate),
	}
}

func migrate(ctx context.Context, delivery capability.ContinuousDelivery, target string, in Inputs, emit func(protocol.Spec)) error {
	if len(in.App.Migrations) == 0 {
		return nil
	}
	migrator, ok := delivery.(capability.Migrator)
	if !ok {
		return protocol.Unsupported("the adapter of target %q runs no migrations", target)
	}
	report, err := migrator.Migrate(ctx, in.App, target, in.image(), *in.Chart)
	if err == nil || len(report.Migrations) > 0 {
		emit(report)
	}
	return err
}
