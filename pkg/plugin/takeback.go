package plugin

import (
	"context"
	"fmt"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// TakeBack is the stage behind the command [protocol.CommandTakeBack] of a deploy
// plugin. An adapter that is no [capability.Reverter] refuses, with status
// protocol.ExitUnsupported. Its Features can have those of [Deploy].
func TakeBack(version string, deliveries Adapters[capability.ContinuousDelivery]) Stage {
	return Stage{
		Name: capability.StageDeploy, Version: version, Description: "Bring back what ran on a target before a deploy whose smoke checks failed",
		Needs:        []protocol.Kind{protocol.KindAppSpec, protocol.KindDeployResult},
		Produces:     []protocol.Kind{protocol.KindDeployResult},
		Capabilities: map[string][]string{capability.NameContinuousDelivery: deliveries.names()},
		Open:         toTarget(deliveries, takeBack),
	}
}

func takeBack(ctx context.Context, delivery capability.ContinuousDelivery, target string, in Inputs, emit func(protocol.Spec)) error {
	reverter, ok := delivery.(capability.Reverter)
	if !ok {
		return protocol.Unsupported("the adapter of target %q cannot take it back", target)
	}
	deployed, ok := in.Deployed[target]
	if !ok {
		return protocol.Invalid("no DeployResult of %q for target %q on stdin", in.App.Name, target)
	}
	from := capability.Setback{Deployed: deployed, Clusters: in.Clusters[target], Reason: reasonOf(in.Checked[target])}
	result, err := reverter.TakeBack(ctx, in.App, target, from, func(r protocol.DeployResult) { emit(r) })
	if err == nil || result.Outcome == protocol.OutcomeFailed {
		result.Message = from.Reason
		emit(result)
	}
	return err
}

// reasonOf says which check failed.
func reasonOf(report protocol.SmokeReport) string {
	for _, check := range report.Checks {
		if check.Status == protocol.CheckFailed {
			return fmt.Sprintf("check %s failed", check.Name)
		}
	}
	return "its checks failed"
}
