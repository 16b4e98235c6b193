// Command harmony-publish is the stage that brings images and charts into
// registries. It pushes images itself; charts are made by harmony-chart.
package main

import (
	"context"
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
	"github.com/nationtech/harmony/pkg/plugin/signals"
)

func main() {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	flags := &publish.Flags{}
	made := &charts.Stage{Flags: flags}
	stage := plugin.Publish(suite.Version(),
		plugin.Adapters[capability.OCIRegistry]{"oci": oci.NewRegistry(flags), "node-import": nodeimport.New(flags)},
		plugin.Adapters[capability.HelmRegistry]{"oci": made.Open, "none": made.Open},
	)
	stage.Close = made.Close
	os.Exit(command.Main(ctx, stage, project.Standard(), os.Args[1:],
		command.Flags(flags.Bind), cli.Check(flags, os.Getenv), cli.Eject(flags, os.Getenv), command.Subcommand(charts.Prune())))
}
