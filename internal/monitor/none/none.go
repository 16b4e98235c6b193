// Package none is the adapter that monitors nothing: for environments, such as a
// laptop, without a monitoring system.
package none

import (
	"context"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Name is the adapter's name in a topology.
const Name = "none"

// New makes the adapter.
func New(_ context.Context, env capability.Environment) (capability.Monitoring, error) {
	return adapter{dryRun: env.DryRun}, nil
}

type adapter struct{ dryRun bool }

// Monitor implements [capability.Monitoring]: there is never anything to do.
func (a adapter) Monitor(_ context.Context, app protocol.AppSpec, target string) (protocol.MonitoringResult, error) {
	return protocol.MonitoringResult{
		Metadata: app.Metadata, Target: target, Adapter: Name, Objects: []protocol.MonitoringObject{},
		Summary: "nothing watches here", Unchanged: true, Planned: a.dryRun,
	}, nil
}
