// Command cannot composes a release on a topology without a Helm registry. It
// does not compile, and must not.
package main

import (
	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

type edge struct {
	capability.ContainerBuilder
	capability.OCIRegistry
}

func main() {
	capability.NewReleaseScore(edge{}, protocol.AppSpec{}, semver.Version{})
}
