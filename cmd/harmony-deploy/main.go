// Command harmony-deploy is the stage that brings released apps to a target.
package main

import (
	"context"
	"os"

	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/deploy/helm"
	"github.com/nationtech/harmony/internal/kubeconn"
	"github.com/nationtech/harmony/internal/kubeconn/kubeflags"
	"github.com/nationtech/harmony/internal/suite"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/plugin/signals"
)

func main() {
	ctx, stop := signals.Context(context.Background())
	defer stop()
	flags := &kubeconn.Flags{}
	stage := plugin.Deploy(suite.Version(), plugin.Adapters[capability.ContinuousDelivery]{
		"helm": helm.New(flags),
	})
	os.Exit(command.Main(ctx, stage, command.Standard(), os.Args[1:], func(set *pflag.FlagSet) { kubeflags.Bind(flags, set) }))
}
