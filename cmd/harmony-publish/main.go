// Command harmony-publish is the stage that publishes images and charts. It pushes images
// itself; harmony-chart makes the charts.
package main

import (
	"os"

	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/internal/publish/charts"
	"github.com/nationtech/harmony/internal/publish/cli"
	"github.com/nationtech/harmony/internal/publish/nodeimport"
	"github.com/nationtech/harmony/internal/publish/oci"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

func main() {
	flags := &publish.Flags{}
	made := &charts.Stage{Flags: flags}
	stage := plugin.Publish(suite.Version(),
		plugin.Adapters[capability.OCIRegistry]{"oci": oci.NewRegistry(flags), "node-import": nodeimport.New(flags)},
		plugin.Adapters[capability.HelmRegistry]{"oci": made.Open, "none": made.Open},
	)
	stage.Close, stage.Features = made.Close, []string{protocol.FeatureImages, protocol.FeatureImagePlaces}
	project.Main(stage,
		command.Flags(flags.Bind), cli.Check(flags, os.Getenv), cli.Eject(flags, os.Getenv), command.Subcommand(charts.Prune()))
}
