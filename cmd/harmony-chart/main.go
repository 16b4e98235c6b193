// Command harmony-chart is the part of the stage publish that needs the libraries of Helm
// and Kubernetes: it makes charts, pins those of others, and finds what clusters still use
// before pruning.
// Without them harmony-publish, which runs it, starts in a quarter of the time.
package main

import (
	"github.com/nationtech/harmony/internal/chart/lock"
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
	"github.com/nationtech/harmony/pkg/protocol"
)

func main() {
	flags := &publish.Flags{}
	stage := plugin.Publish(suite.Version(), nil, plugin.Adapters[capability.HelmRegistry]{
		"oci": oci.NewHelmRegistry(flags, pack.Pack), "none": none.NewHelmRegistry(flags, pack.Pack),
	})
	stage.Features = []string{protocol.FeatureImages, protocol.FeatureImagePlaces}
	stage.Plugin, stage.Description = charts.Plugin, "Package the charts of published images, and publish them"
	project.Main(stage, command.Flags(flags.BindCharts),
		command.Subcommand(prune.Command()), command.Subcommand(pack.Command()), command.Subcommand(lock.Command(project.Standard())))
}
