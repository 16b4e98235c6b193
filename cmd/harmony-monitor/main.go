// Command harmony-monitor is the stage that sets up monitoring for deployed apps.
package main

import (
	"context"
	"os"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/monitor/none"
	"github.com/nationtech/harmony/internal/monitor/prometheusoperator"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/plugin/signals"
)

func main() {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	flags := &conn.Flags{}
	stage := plugin.Monitor(suite.Version(), plugin.Adapters[capability.Monitoring]{
		none.Name:               none.New,
		prometheusoperator.Name: prometheusoperator.New(flags),
	})
	os.Exit(command.Main(ctx, stage, project.Standard(), os.Args[1:], command.Flags(flags.Bind)))
}
