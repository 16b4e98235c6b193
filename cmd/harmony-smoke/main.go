// Command harmony-smoke is the stage that checks deployed apps.
package main

import (
	"os"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/internal/smoke"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/plugin/command"
	"github.com/nationtech/harmony/pkg/protocol"
)

func main() {
	flags := &conn.Flags{}
	stage := plugin.Smoke(suite.Version(), smoke.New(flags, find))
	stage.Features = []string{protocol.FeatureChecks}
	project.Main(stage, command.Flags(flags.Bind))
}

// find finds the executable of a kind of check by the rules for plugins.
func find(kind string) (string, error) {
	found, err := lock.Finder(os.Getenv("PATH")).FindCheck(kind)
	return found.Path, err
}
