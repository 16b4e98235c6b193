// Command releases composes a release on a topology that has all it needs.
package main

import (
	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

type laptop struct {
	capability.ContainerBuilder
	capability.OCIRegistry
	capability.HelmRegistry
}

func main() {
	capability.NewReleaseScore(laptop{}, protocol.AppSpec{}, semver.Version{})
}
