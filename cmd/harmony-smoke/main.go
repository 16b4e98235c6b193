// Command harmony-smoke is the stage that checks deployed apps.
package main

import (
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/internal/smoke"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
)

func main() {
	flags := &conn.Flags{}
	stage := plugin.Smoke(suite.Version(), smoke.New(flags))
	project.Main(stage, command.Flags(flags.Bind))
}
