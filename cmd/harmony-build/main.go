// Command harmony-build is the stage that makes the container images of apps.
package main

import (
	"context"
	"os"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/auto"
	"github.com/nationtech/harmony/internal/build/buildkit"
	"github.com/nationtech/harmony/internal/build/daemonless"
	"github.com/nationtech/harmony/internal/build/docker"
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
	flags := &build.Flags{}
	adapters := plugin.Adapters[capability.ContainerBuilder]{
		"daemonless": daemonless.New(flags), "docker": docker.New(flags), "buildkit": buildkit.New(flags),
	}
	adapters["auto"] = auto.New(
		auto.Candidate{Name: "daemonless", New: adapters["daemonless"]},
		auto.Candidate{Name: "docker", New: adapters["docker"]},
		auto.Candidate{Name: "buildkit", New: adapters["buildkit"]},
	)
	stage := plugin.Build(suite.Version(), adapters)
	os.Exit(command.Main(ctx, stage, project.Standard(), os.Args[1:], command.Flags(flags.Bind)))
}
