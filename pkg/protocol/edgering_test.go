package protocol_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func rings(shares ...int) []protocol.DeviceRing {
	var all []protocol.DeviceRing
	for _, share := range shares {
		all = append(all, protocol.DeviceRing{Share: share})
	}
	return all
}

// The ring of a device follows from its name alone, and each ring has about its share.
func TestRingOf(t *testing.T) {
	edge := protocol.EdgeDevice{Group: "shops", Rings: rings(1, 10, 100)}
	if got := edge.RingTags(); !slices.Equal(got, []string{"ring-1", "ring-2", "latest"}) {
		t.Errorf("tags %q", got)
	}
	// What was published stays: printf %s shop-1 | sha256sum | cut -c1-8, modulo 100.
	for name, place := range map[string]int{"shop-1": 28, "shop-2": 85} {
		if got := protocol.DevicePlace(name); got != place {
			t.Errorf("the place of %s is %d, want %d", name, got, place)
		}
	}
	var count [3]int
	for i := range 10000 {
		count[edge.RingOf(fmt.Sprintf("shop-%d", i), nil)]++
	}
	if count[0] < 50 || count[0] > 150 || count[1] < 800 || count[1] > 1000 {
		t.Errorf("the rings have %d of 10000", count)
	}
	edge.Rings = append([]protocol.DeviceRing{{Labels: map[string]string{"tier": "canary", "region": "eu"}}}, edge.Rings...)
	for text, want := range map[string]int{"tier=canary,region=eu,x=1": 0, "tier=canary": 3, "tier=beta,region=eu": 3, "": 3} {
		labels, err := protocol.ParseDeviceLabels(text)
		if got := edge.RingOf("shop-1", labels); err != nil || got != want {
			t.Errorf("labels %q: ring %d, want %d; %v", text, got, want, err)
		}
	}
	for _, text := range []string{"tier", "=x", "tier=a b", "tier=" + strings.Repeat("x", 64), strings.Repeat("a=b,", 20) + "c d=e"} {
		if _, err := protocol.ParseDeviceLabels(text); err == nil {
			t.Errorf("labels %q are taken", text)
		}
	}
	if got := (protocol.EdgeDevice{}).RingTags(); !slices.Equal(got, []string{"latest"}) || (protocol.EdgeDevice{}).RingOf("x", nil) != 0 {
		t.Errorf("without rings: %q", got)
	}
}

func TestRingsAreValid(t *testing.T) {
	group := protocol.EdgeDevice{Group: "shops", Namespace: "fleet", Rings: rings(1, 10, 100), AdvanceWhen: &protocol.AdvanceWhen{Healthy: "95%", MaxFailed: "5%"}}
	changed := func(change func(*protocol.EdgeDevice)) protocol.EdgeDevice {
		e := group
		e.Rings = rings(1, 10, 100)
		change(&e)
		return e
	}
	for name, c := range map[string]struct {
		edge   protocol.EdgeDevice
		fields []string
	}{
		"valid":                {group, nil},
		"one device":           {changed(func(e *protocol.EdgeDevice) { e.Group, e.Device = "", "kiosk" }), []string{".rings"}},
		"no reports":           {changed(func(e *protocol.EdgeDevice) { e.Reports = &protocol.DeviceReports{Disabled: true} }), []string{".rings"}},
		"one ring":             {changed(func(e *protocol.EdgeDevice) { e.Rings = rings(100) }), []string{".rings"}},
		"too many":             {changed(func(e *protocol.EdgeDevice) { e.Rings = rings(slices.Concat(rangeOf(20), []int{100})...) }), []string{".rings"}},
		"not all":              {changed(func(e *protocol.EdgeDevice) { e.Rings = rings(10, 50) }), []string{".rings[1]"}},
		"none":                 {changed(func(e *protocol.EdgeDevice) { e.Rings = rings(0, 100) }), []string{".rings[0]"}},
		"odd labels":           {changed(func(e *protocol.EdgeDevice) { e.Rings[0] = protocol.DeviceRing{Labels: map[string]string{"a b": "c"}} }), []string{".rings[0].labels"}},
		"advance without them": {changed(func(e *protocol.EdgeDevice) { e.Rings = nil }), []string{".advanceWhen"}},
		"advance": {changed(func(e *protocol.EdgeDevice) {
			e.AdvanceWhen = &protocol.AdvanceWhen{Healthy: "0%", For: -1, MaxFailed: "x"}
		}), []string{".advanceWhen.for", ".advanceWhen.healthy", ".advanceWhen.maxFailed"}},
		"reports": {changed(func(e *protocol.EdgeDevice) {
			e.Reports = &protocol.DeviceReports{OfflineAfter: -1, RequestsPerSecond: -1}
		}), []string{".reports.offlineAfter", ".reports.requestsPerSecond"}},
	} {
		topology := protocol.Topology{Metadata: protocol.Metadata{Name: "ci"}, Targets: map[string]protocol.Target{"a": {EdgeDevice: &c.edge}}}
		var want []string
		for _, field := range c.fields {
			want = append(want, "spec.targets.a.edgeDevice"+field)
		}
		if got := fieldsOf(t, topology.Validate()); !slices.Equal(got, want) {
			t.Errorf("%s: problems at %q, want %q", name, got, want)
		}
	}
}

func rangeOf(n int) []int {
	var all []int
	for i := range n {
		all = append(all, i+1)
	}
	return all
}

func TestAdvanceWhen(t *testing.T) {
	for _, c := range []struct {
		when                       protocol.AdvanceWhen
		devices, needed, mayFailed int
	}{
		{protocol.AdvanceWhen{}, 10, 10, 0}, {protocol.AdvanceWhen{}, 0, 1, 0},
		{protocol.AdvanceWhen{Healthy: "95%", MaxFailed: "25%"}, 10, 10, 2},
		{protocol.AdvanceWhen{Healthy: "50%", MaxFailed: float64(3)}, 9, 5, 3},
		{protocol.AdvanceWhen{Healthy: "1%"}, 5, 1, 0},
	} {
		if n, m := c.when.Needed(c.devices), c.when.Failures(c.devices); n != c.needed || m != c.mayFailed {
			t.Errorf("%+v of %d: %d needed, %d may fail; want %d, %d", c.when, c.devices, n, m, c.needed, c.mayFailed)
		}
	}
}

// A plugin that does not know rings would release to all devices at once.
func TestCheckTargetWithRings(t *testing.T) {
	topology := protocol.Topology{Targets: map[string]protocol.Target{
		"rings": {EdgeDevice: &protocol.EdgeDevice{Rings: rings(1, 100)}}, "plain": {EdgeDevice: &protocol.EdgeDevice{}}, "cluster": {InCluster: &protocol.InCluster{}},
	}}
	old := protocol.PluginInfo{Metadata: protocol.Metadata{Name: "deploy-x", Version: "1.0.0"}, Stage: "deploy"}
	for _, target := range []string{"plain", "cluster", ""} {
		if err := old.CheckTarget(topology, target); err != nil {
			t.Error(err)
		}
	}
	if err := old.CheckTarget(topology, "rings"); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "harmony-deploy-x 1.0.0") {
		t.Errorf("%v", err)
	}
	fresh, smoke := old, old
	fresh.Features, smoke.Stage = []string{protocol.FeatureRings}, "smoke"
	for _, info := range []protocol.PluginInfo{fresh, smoke} {
		if err := info.CheckTarget(topology, "rings"); err != nil {
			t.Error(err)
		}
	}
}

// What is a ring is written again as it was read, and what is none is not taken for one.
func FuzzDeviceRing(f *testing.F) {
	for _, text := range []string{`"10%"`, `{"labels":{"a":"b"}}`, `{"labels":{}}`, `"0%"`, `10`, `null`, `{"label":{"a":"b"}}`, `"999%"`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var ring, again protocol.DeviceRing
		if json.Unmarshal([]byte(text), &ring) != nil {
			return
		}
		edge := protocol.EdgeDevice{Group: "a", Namespace: "b", Rings: append([]protocol.DeviceRing{ring}, rings(100)...)}
		topology := protocol.Topology{Metadata: protocol.Metadata{Name: "ci"}, Targets: map[string]protocol.Target{"a": {EdgeDevice: &edge}}}
		if topology.Validate() != nil {
			return
		}
		written, err := json.Marshal(ring)
		if err == nil {
			err = json.Unmarshal(written, &again)
		}
		if err != nil || !reflect.DeepEqual(ring, again) || ring.String() == "" {
			t.Errorf("%s is written as %s: %v", text, written, err)
		}
	})
}
