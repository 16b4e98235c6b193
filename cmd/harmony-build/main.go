// Command harmony-build is the stage that builds the container images of apps.
package main

import (
	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/auto"
	"github.com/nationtech/harmony/internal/build/buildkit"
	"github.com/nationtech/harmony/internal/build/changes"
	"github.com/nationtech/harmony/internal/build/daemonless"
	"github.com/nationtech/harmony/internal/build/docker"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
)

func main() {
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
	options := append(changes.Commands(project.Standard()), command.Flags(flags.Bind))
	project.Main(stage, options...)
}
