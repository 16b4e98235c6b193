// Command harmony-monitor is the stage that sets up monitoring for deployed apps.
package main

import (
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/monitor/none"
	"github.com/nationtech/harmony/internal/monitor/prometheusoperator"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
)

func main() {
	flags := &conn.Flags{}
	stage := plugin.Monitor(suite.Version(), plugin.Adapters[capability.Monitoring]{
		none.Name:               none.New,
		prometheusoperator.Name: prometheusoperator.New(flags),
	})
	project.Main(stage, command.Flags(flags.Bind))
}
