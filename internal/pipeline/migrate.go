package pipeline

import (
	"context"
	"slices"

	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/plugins/process"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// migrator runs migrations on one target by a process of the deploy plugin's command, which
// knows the apps.
type migrator struct {
	migrate *process.Process
}

func (m migrator) Migrate(ctx context.Context, app protocol.AppSpec, _ string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.MigrationReport, error) {
	if err := m.migrate.Send(released(app, image, chart)...); err != nil {
		return protocol.MigrationReport{}, err
	}
	report, err := process.Await[protocol.MigrationReport](ctx, m.migrate, app.Name)
	if err == nil && !report.Passed {
		err = m.migrate.AwaitFailure(ctx, app.Name)
	}
	return report, err
}

// withMigrations reports whether the step has something to do for the app.
func withMigrations(app protocol.AppSpec) bool { return len(app.Migrations) > 0 }

// idle reports a step that has nothing to do for any of the apps.
func (r Release) idle(step protocol.PipelineStep) bool {
	return step.Stage == protocol.StepMigrate && !slices.ContainsFunc(r.Apps, withMigrations)
}

// checkMigrations refuses a target without migrations, and a deploy plugin that runs none.
func (r Release) checkMigrations(n need, plugin discovery.Plugin, info protocol.PluginInfo) error {
	for _, step := range r.Steps {
		switch {
		case n.stage != capability.StageDeploy || step.Stage != protocol.StepMigrate:
		case r.Topology.Targets[step.Target].EdgeDevice != nil:
			i := slices.IndexFunc(r.Apps, withMigrations)
			return protocol.Unsupported("app %q has migrations, and target %q is of edge devices, on which harmony runs none", r.Apps[i].Name, step.Target)
		case !slices.Contains(info.Commands, protocol.CommandMigrate):
			return protocol.Unsupported("plugin %s has no command %s, and cannot run the migrations of apps", plugin.Path, protocol.CommandMigrate)
		}
	}
	return nil
}
