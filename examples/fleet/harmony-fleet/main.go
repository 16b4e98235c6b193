// Command harmony-fleet is the app plugin of the fleet: with it on PATH the three
// apps are released from any folder, and the chart of fleet-operator is made in Go.
package main

import (
	"context"
	"os"

	"github.com/nationtech/harmony/pkg/appkit"
	"github.com/nationtech/harmony/pkg/protocol"
)

func main() {
	fleet := appkit.Plugin{
		Name: "fleet", Version: "1.0.0", Description: "The programs of the fleet",
		Module: "example.com/fleet", Root: appkit.SourceFolder(".."),
		Apps: []appkit.App{{Spec: callout()}, {Spec: operator(), Chart: operatorChart}, {Spec: agent()}},
	}
	streams := appkit.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	os.Exit(fleet.Main(context.Background(), streams, os.Args[1:]))
}

// app is what the three have in common.
func app(name string, dependsOn ...string) protocol.AppSpec {
	return protocol.AppSpec{
		Metadata: protocol.Metadata{Name: "fleet-" + name},
		Image:    protocol.ImageSource{Repository: "fleet/" + name, Buildable: &protocol.Buildable{Type: "go", Main: "./cmd/" + name}},
		Chart:    protocol.ChartSource{Path: "charts/" + name, Image: protocol.ImagePlaces{{Value: "image"}}},
		Targets: map[string]protocol.TargetValues{
			"staging":    {Values: map[string]any{"replicas": 1}},
			"production": {ValuesFiles: []string{"production.yaml"}},
		},
		Smoke:     []protocol.SmokeCheck{{Name: "ready", Rollout: &protocol.RolloutCheck{}}},
		DependsOn: dependsOn,
	}
}
