// Command harmony-smoke is the stage that checks deployed apps.
package main

import (
	"context"
	"os"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/internal/smoke"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/plugin/signals"
)

func main() {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	flags := &conn.Flags{}
	stage := plugin.Smoke(suite.Version(), smoke.New(flags))
	os.Exit(command.Main(ctx, stage, project.Standard(), os.Args[1:], command.Flags(flags.Bind)))
}
