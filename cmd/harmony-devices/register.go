package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/pkg/protocol"
)

// registration is what one device follows of one app, and where it reports.
type registration struct {
	Device string `json:"device"`
	App    string `json:"app"`
	Group  string `json:"group,omitempty"`
	Labels string `json:"labels,omitempty"`
	// Ring is the device's ring as the topology has it: 10%, or tier=canary.
	Ring string `json:"ring,omitempty"`
	// URL is the repository that the device pulls from, and Tag what it follows there.
	URL string `json:"url"`
	Tag string `json:"tag"`
	// Reports is where the device pushes its reports.
	Reports string `json:"reports"`
}

type registerFlags struct {
	source         project.Source
	target, output string
	labels         string
}

func (c *cli) register() *cobra.Command {
	f := &registerFlags{}
	cmd := &cobra.Command{
		Use:   "register DEVICE [APP...]",
		Short: "Tell what a device is to follow, and where it reports",
		Long: `Tell what a device is to follow, and where it reports: of each app the repository, and the
tag of the device's ring. Nothing is written anywhere: the ring follows from the rings in
the topology, the device's labels and its name alone, so that other devices may come and
go. Register a device again when rings or its labels change.`,
		Example: `  harmony devices register shop-7 --target shops
  harmony devices register shop-7 operator --target shops --labels tier=canary -o json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.output != "json" && f.output != "text" {
				return protocol.Invalid("--output %q is not one of text, json", f.output)
			}
			found, err := f.registrations(cmd.Context(), args[0], args[1:])
			if err != nil {
				return err
			}
			return c.print(found, f.output)
		},
	}
	f.source.Getenv = os.Getenv
	set := cmd.Flags()
	set.StringVarP(&f.source.File, "file", "f", "", "the project's `harmony.yaml`; found from the current folder by default")
	set.StringVar(&f.source.Topology, "topology", "", "the topology by `name` (default HARMONY_TOPOLOGY, else ci where CI is set, else local)")
	set.StringVar(&f.target, "target", "", "the `target` that the device belongs to; the only one of devices by default")
	set.StringVar(&f.labels, "labels", "", "the device's `labels`: tier=canary,region=eu")
	set.StringVarP(&f.output, "output", "o", "text", "text or json")
	return cmd
}

func (f *registerFlags) registrations(ctx context.Context, device string, patterns []string) ([]registration, error) {
	if !protocol.ValidName(device) {
		return nil, protocol.Invalid("%q is not a device's name: lower-case letters, digits and dashes, at most 53", device)
	}
	labels, err := protocol.ParseDeviceLabels(f.labels)
	if err != nil {
		return nil, err
	}
	topology, apps, err := f.read(ctx, patterns)
	if err != nil {
		return nil, err
	}
	target, err := targetOf(topology, f.target)
	if err != nil {
		return nil, err
	}
	if edge := topology.Targets[target].EdgeDevice; edge != nil && edge.Device != "" && edge.Device != device {
		return nil, protocol.Invalid("target %q is of the device %s, not of %s", target, edge.Device, device)
	}
	var found []registration
	for _, app := range apps {
		place, err := devices.Of(topology, target, app.Name)
		if err != nil {
			return nil, err
		}
		ring := place.Target.RingOf(device, labels)
		r := registration{
			Device: device, App: app.Name, Group: place.Target.Group, Labels: f.labels,
			URL: "oci://" + place.State.String(), Tag: place.Target.RingTags()[ring], Reports: "oci://" + place.Reports.String() + ":" + device,
		}
		if len(place.Target.Rings) > 0 {
			r.Ring = place.Target.Rings[ring].String()
		}
		found = append(found, r)
	}
	return found, nil
}

// read reads the topology and the named apps, or all of them.
func (f *registerFlags) read(ctx context.Context, patterns []string) (protocol.Topology, []protocol.AppSpec, error) {
	loaded, err := f.source.Find(ctx, project.Wanted{Patterns: patterns})
	if err != nil {
		return protocol.Topology{}, nil, err
	}
	topology, err := f.source.TopologyOf(ctx, loaded)
	if err != nil {
		return protocol.Topology{}, nil, err
	}
	if len(patterns) == 0 {
		patterns = []string{"*"}
	}
	apps, err := loaded.Select(patterns)
	return topology, apps, err
}

// targetOf is the target named, or the only one of devices.
func targetOf(topology protocol.Topology, named string) (string, error) {
	of := slices.DeleteFunc(slices.Sorted(maps.Keys(topology.Targets)), func(name string) bool { return topology.Targets[name].EdgeDevice == nil })
	switch _, known := topology.Targets[named]; {
	case known:
		return named, nil
	case named != "":
		return "", protocol.Unsupported("topology %q has no target %q of devices (has %s)", topology.Name, named, strings.Join(of, ", "))
	case len(of) == 1:
		return of[0], nil
	case len(of) == 0:
		return "", protocol.Unsupported("topology %q has no target of devices", topology.Name).WithHint("choose another one with --topology")
	}
	return "", protocol.Invalid("no target given").WithHint("name one with --target: %s", strings.Join(of, ", "))
}

func (c *cli) print(found []registration, output string) error {
	if output == "json" {
		encoder := json.NewEncoder(c.stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(found)
	}
	rows := [][]string{{"APP", "RING", "FOLLOWS", "REPORTS TO"}}
	for _, r := range found {
		ring := r.Ring
		if ring == "" {
			ring = "-"
		}
		rows = append(rows, []string{r.App, ring, fmt.Sprintf("%s:%s", r.URL, r.Tag), r.Reports})
	}
	return term.Table(c.stdout, rows)
}
