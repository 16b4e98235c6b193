// Command harmony-build is the stage that makes the container images of apps.
package main

import (
	"context"
	"os"

	"github.com/nationtech/harmony/internal/build/daemonless"
	"github.com/nationtech/harmony/internal/suite"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/plugin/signals"
)

func main() {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	stage := plugin.Build(suite.Version(), plugin.Adapters[capability.ContainerBuilder]{
		"daemonless": daemonless.New,
	})
	os.Exit(command.Main(ctx, stage, command.Standard(), os.Args[1:]))
}
