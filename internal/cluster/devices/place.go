// Package devices knows where the desired state of edge devices lies, and what
// the devices report of it. docs/edge-devices.md is the contract with those who
// set devices up.
//
// The state is an OCI artifact that devices pull. A report is an OCI artifact as
// well, of which only the manifest's annotations are read, under the device's
// name as the tag, in a repository of its own: who may report may not change
// what is wanted.
package devices

import (
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The tags of a state: the one that devices follow, and the one before it. The
// versions that were published have tags beside them.
const (
	TagLatest   = "latest"
	TagPrevious = "previous"
)

// Place is where the state of one app lies, for a device or a group, and where
// it is reported on.
type Place struct {
	// Target is the edgeDevice target, with its defaults.
	Target protocol.EdgeDevice
	// State and Reports are repositories.
	State, Reports Repository
}

// Repository is a repository of a registry.
type Repository struct {
	name   name.Repository
	puller *remote.Puller
	pusher *remote.Pusher
}

// Of is the place of an app on an edgeDevice target. A topology that names no
// registry for it is an error of status protocol.ExitUnsupported.
func Of(topology protocol.Topology, target, app string) (Place, error) {
	edge := topology.Targets[target].EdgeDevice
	if edge == nil {
		return Place{}, protocol.Unsupported("target %q of topology %q is no edgeDevice", target, topology.Name)
	}
	p := Place{Target: *edge}
	if p.Target.Reports == nil {
		p.Target.Reports = &protocol.DeviceReports{}
	}
	within := "/groups/" + edge.Group + "/" + app
	if edge.Device != "" {
		within = "/devices/" + edge.Device + "/" + app
	}
	var err error
	if p.State, err = repository(topology, *edge, edge.Registry, "edge", within); err != nil {
		return Place{}, fmt.Errorf("target %q: %w", target, err)
	}
	if p.Reports, err = repository(topology, *edge, p.Target.Reports.Registry, "edge-reports", within); err != nil {
		return Place{}, fmt.Errorf("target %q: %w", target, err)
	}
	return p, nil
}

// repository is one under the registry given, or beside the topology's images.
func repository(topology protocol.Topology, edge protocol.EdgeDevice, registry, folder, within string) (Repository, error) {
	insecure := edge.Insecure
	if registry == "" {
		images := topology.OCIRegistry
		if images == nil || images.URL == "" {
			return Repository{}, protocol.Unsupported("topology %q names no registry for the state of edge devices", topology.Name).
				WithHint("set edgeDevice.registry of the target, or spec.ociRegistry.url of the topology")
		}
		registry, insecure = strings.Trim(images.URL, "/")+"/"+folder, insecure || images.Insecure
	}
	made, err := name.NewRepository(registry+within, auth.Naming(insecure)...)
	if err != nil {
		return Repository{}, protocol.Invalid("%w", err)
	}
	guard := &auth.Guard{Host: made.RegistryStr(), Insecure: insecure}
	r := Repository{name: made}
	if r.puller, err = remote.NewPuller(auth.Through(guard, remote.WithJobs(atOnce))...); err != nil {
		return Repository{}, err
	}
	r.pusher, err = remote.NewPusher(auth.Through(guard, remote.WithJobs(atOnce))...)
	return r, err
}

// String is the repository without a scheme.
func (r Repository) String() string { return r.name.Name() }

// Whose says whose state it is: device kiosk-7, or group shops.
func (p Place) Whose() string {
	if p.Target.Device != "" {
		return "device " + p.Target.Device
	}
	return "group " + p.Target.Group
}

// URL is what devices follow.
func (p Place) URL() string { return "oci://" + p.State.String() + ":" + TagLatest }
