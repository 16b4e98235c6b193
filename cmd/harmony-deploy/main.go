// Command harmony-deploy is the stage that delivers released apps to a target.
package main

import (
	"os"

	"github.com/spf13/pflag"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/conn/kubeflags"
	"github.com/nationtech/harmony/internal/deploy/argocd"
	"github.com/nationtech/harmony/internal/deploy/cli"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/edge"
	"github.com/nationtech/harmony/internal/deploy/fan"
	"github.com/nationtech/harmony/internal/deploy/flux"
	"github.com/nationtech/harmony/internal/deploy/helm"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/internal/smoke"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

func main() {
	flags := &fan.Flags{}
	table := map[string]delivery.Constructor{
		"argocd": argocd.New,
		"flux":   flux.New,
		"helm":   helm.New,
	}
	checker := func(flags *conn.Flags) capability.Adapter[capability.Checker] { return smoke.New(flags, find) }
	adapters := fan.Adapters(flags, table, edge.New, checker)
	bind := func(set *pflag.FlagSet) { kubeflags.Bind(&flags.Flags, set) }
	streams := project.Standard()
	tools := cli.Tools{Adapters: adapters, Bind: bind, Streams: streams}
	stage, back := plugin.Deploy(suite.Version(), adapters), plugin.TakeBack(suite.Version(), adapters)
	migrating := &fan.Flags{} // the same flags, of a command of its own
	migrate := plugin.Migrate(suite.Version(), fan.Adapters(migrating, table, edge.New, checker))
	bindMigrating := func(set *pflag.FlagSet) {
		kubeflags.Bind(&migrating.Flags, set)
		migrating.Bind(set)
	}
	stage.Features = []string{protocol.FeatureImages, protocol.FeatureImagePlaces, protocol.FeatureRings, protocol.FeatureWaves}
	back.Features, migrate.Features = stage.Features, stage.Features
	options := append(tools.Options(), command.Flags(bind), command.Flags(flags.Bind), cli.TakeBack(back, streams, bind), cli.Migrate(migrate, streams, bindMigrating))
	project.Main(stage, options...)
}

// find finds the executable of a kind of check by the rules for plugins.
func find(kind string) (string, error) {
	found, err := lock.Finder(os.Getenv("PATH")).FindCheck(kind)
	return found.Path, err
}
