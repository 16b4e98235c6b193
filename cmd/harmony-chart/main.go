// Command harmony-chart is the part of the stage publish that needs Helm's and
// Kubernetes' libraries: it makes charts, and asks clusters what may be pruned.
// harmony-publish runs it, and starts without them in a quarter of the time.
package main

import (
	"context"
	"os"

	"github.com/nationtech/harmony/internal/chart/pack"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/internal/publish/charts"
	"github.com/nationtech/harmony/internal/publish/none"
	"github.com/nationtech/harmony/internal/publish/oci"
	"github.com/nationtech/harmony/internal/publish/prune"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/plugin/signals"
)

func main() {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	flags := &publish.Flags{}
	stage := plugin.Publish(suite.Version(), nil, plugin.Adapters[capability.HelmRegistry]{
		"oci": oci.NewHelmRegistry(flags, pack.Pack), "none": none.NewHelmRegistry(pack.Pack),
	})
	stage.Plugin, stage.Description = charts.Plugin, "Package the charts of published images, and publish them"
	os.Exit(command.Main(ctx, stage, project.Standard(), os.Args[1:], command.Flags(flags.BindCharts), command.Subcommand(prune.Command())))
}
