// Command unwatch composes monitoring on a topology without it. It does not
// compile, and must not.
package main

import (
	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

type edge struct {
	capability.ContinuousDelivery
}

func main() {
	capability.NewMonitoringScore(edge{}, protocol.AppSpec{}, semver.Version{}, "staging")
}
