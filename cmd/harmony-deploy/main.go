// Command harmony-deploy is the stage that brings released apps to a target.
package main

import (
	"context"
	"os"

	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/deploy/argocd"
	"github.com/nationtech/harmony/internal/deploy/edge"
	"github.com/nationtech/harmony/internal/deploy/flux"
	"github.com/nationtech/harmony/internal/deploy/helm"
	"github.com/nationtech/harmony/internal/deploy/multicluster"
	"github.com/nationtech/harmony/internal/deploy/override"
	"github.com/nationtech/harmony/internal/deploy/subcommand"
	"github.com/nationtech/harmony/internal/kubeconn"
	"github.com/nationtech/harmony/internal/kubeconn/kubeflags"
	"github.com/nationtech/harmony/internal/suite"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/plugin/signals"
)

func main() {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	flags, overrides := &kubeconn.Flags{}, &override.Flags{}
	adapters := overrides.Wrap(edge.Wrap(multicluster.Adapters(flags, map[string]multicluster.Constructor{
		"argocd": argocd.New,
		"flux":   flux.New,
		"helm":   helm.New,
	})))
	bind := func(set *pflag.FlagSet) { kubeflags.Bind(flags, set) }
	streams := command.Standard()
	tools := subcommand.Tools{Adapters: adapters, Bind: bind, Streams: streams}
	options := append(tools.Options(), command.Flags(bind), command.Flags(overrides.Bind))
	os.Exit(command.Main(ctx, plugin.Deploy(suite.Version(), adapters), streams, os.Args[1:], options...))
}
