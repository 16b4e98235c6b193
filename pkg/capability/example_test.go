package capability_test

import (
	"context"
	"fmt"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// A pipeline is a list of scores on a topology, run in order.
func Example() {
	topology := &world{}
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "fleet-operator"}, Image: protocol.ImageSource{Ref: "ghcr.io/org/fleet-operator:1.4"}}
	version := *semver.MustParse("1.4.0")

	var record capability.Record
	for _, score := range []capability.Score{
		capability.NewReleaseScore(topology, app, version),
		capability.NewDeployScore(topology, app, version, "staging"),
		capability.NewSmokeScore(topology, app, version, "staging"),
	} {
		if err := score.Run(context.Background(), &record); err != nil {
			fmt.Println(score.Title(), "failed:", err)
			return
		}
		fmt.Println(score.Title(), "done")
	}
	// Output:
	// release done
	// deploy staging done
	// smoke staging done
}
