package prune

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/pkg/protocol"
)

func hasDevices(t protocol.Topology) bool {
	for _, target := range t.Targets {
		if target.EdgeDevice != nil {
			return true
		}
	}
	return false
}

// CollectDevices adds what the devices of the topology's targets use: no cluster
// tells it.
func (u *Uses) CollectDevices(ctx context.Context, topology protocol.Topology, apps []protocol.AppSpec) error {
	for name, target := range topology.Targets {
		if target.EdgeDevice == nil {
			continue
		}
		for _, app := range apps {
			place, err := devices.Of(topology, name, app.Name)
			if err != nil {
				return err
			}
			states, err := place.States(ctx)
			if err != nil {
				return fmt.Errorf("target %q: %w", name, err)
			}
			for _, state := range states {
				text, err := json.Marshal(state.Annotations)
				if err != nil {
					return err
				}
				u.add(fmt.Sprintf("%s, state %s", place.Whose(), state.Digest), string(text))
			}
		}
	}
	return nil
}
