package devices

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestOf(t *testing.T) {
	images := &protocol.Provider{URL: "registry.example.com/fleet/"}
	for name, c := range map[string]struct {
		images         *protocol.Provider
		edge           *protocol.EdgeDevice
		state, reports string
		code           int
	}{
		"device": {images, &protocol.EdgeDevice{Device: "kiosk-7"}, "registry.example.com/fleet/edge/devices/kiosk-7/app", "registry.example.com/fleet/edge-reports/devices/kiosk-7/app", 0},
		"group":  {images, &protocol.EdgeDevice{Group: "shops"}, "registry.example.com/fleet/edge/groups/shops/app", "registry.example.com/fleet/edge-reports/groups/shops/app", 0},
		"registries of its own": {
			nil, &protocol.EdgeDevice{Group: "shops", Registry: "a.example.com/x", Reports: &protocol.DeviceReports{Registry: "b.example.com"}},
			"a.example.com/x/groups/shops/app", "b.example.com/groups/shops/app", 0,
		},
		"no registry":             {nil, &protocol.EdgeDevice{Group: "shops"}, "", "", protocol.ExitUnsupported},
		"no registry for reports": {nil, &protocol.EdgeDevice{Group: "shops", Registry: "a.example.com"}, "", "", protocol.ExitUnsupported},
		"no edge device":          {images, nil, "", "", protocol.ExitUnsupported},
	} {
		topology := protocol.Topology{OCIRegistry: c.images, Targets: map[string]protocol.Target{"t": {EdgeDevice: c.edge}}}
		p, err := Of(topology, "t", "app")
		if protocol.ExitCode(err) != c.code {
			t.Errorf("%s: error %v with status %d, want %d", name, err, protocol.ExitCode(err), c.code)
			continue
		}
		if err == nil && (p.State.String() != c.state || p.Reports.String() != c.reports) {
			t.Errorf("%s: %s and %s, want %s and %s", name, p.State, p.Reports, c.state, c.reports)
		}
	}
}

const published = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestJudge(t *testing.T) {
	other := "sha256:" + strings.Repeat("b", 64)
	for name, c := range map[string]struct {
		revision, state string
		want            protocol.DeviceState
	}{
		"ready":              {published, "ready", protocol.DeviceReady},
		"as Flux tells it":   {"latest@" + published, "ready", protocol.DeviceReady},
		"failed":             {published, "failed", protocol.DeviceFailed},
		"rid of the app":     {published, "gone", protocol.DeviceGone},
		"rid of another":     {other, "gone", protocol.DeviceBehind},
		"at it":              {published, "progressing", protocol.DeviceProgressing},
		"an unknown word":    {published, "READY", protocol.DeviceProgressing},
		"no word":            {published, "", protocol.DeviceProgressing},
		"another state":      {other, "ready", protocol.DeviceBehind},
		"another one failed": {other, "failed", protocol.DeviceBehind},
		"no digest":          {"", "ready", protocol.DeviceBehind},
		"no real digest":     {"latest@sha256:aa", "ready", protocol.DeviceBehind},
	} {
		report := Artifact{Digest: other, Annotations: map[string]string{annotationRevision: c.revision, annotationState: c.state}}
		if got := judge("d", report, published); got.State != c.want {
			t.Errorf("%s: %s, want %s", name, got.State, c.want)
		}
	}
	if got := judge("d", Artifact{}, published); got.State != protocol.DeviceSilent {
		t.Errorf("no report: %s", got.State)
	}
	// Before anything is published no report can be about it.
	if got := judge("d", Artifact{Digest: other, Annotations: map[string]string{annotationState: "ready"}}, ""); got.State != protocol.DeviceBehind {
		t.Errorf("nothing is published: %s", got.State)
	}
}

func TestProgress(t *testing.T) {
	p := Progress{Devices: []protocol.DeviceReport{
		{Device: "a", State: protocol.DeviceReady}, {Device: "b", State: protocol.DeviceSilent}, {Device: "c", State: protocol.DeviceFailed}, {Device: "d", State: protocol.DeviceReady},
	}}
	if got := p.String(); got != "2 of 4 devices are ready, 1 failed, 1 silent" {
		t.Errorf("%q", got)
	}
	if worst := p.Worst(3); len(worst) != 3 || worst[0].Device != "c" || worst[1].Device != "b" || worst[2].Device != "a" || p.Ready() || len(p.Failed()) != 1 {
		t.Errorf("worst %+v", worst)
	}
	gone := Progress{Tombstone: true, Devices: []protocol.DeviceReport{
		{Device: "a", State: protocol.DeviceGone}, {Device: "b", State: protocol.DeviceSilent}, {Device: "c", State: protocol.DeviceProgressing},
	}}
	if got := gone.String(); got != "the app is gone from 1 of 3 devices, 1 progressing, 1 silent" || gone.Ready() {
		t.Errorf("%q", got)
	}
	if missing := gone.Missing(3); len(missing) != 2 || missing[0].Device != "c" {
		t.Errorf("missing %+v", missing)
	}
	if gone.Devices = gone.Devices[:1]; !gone.Ready() {
		t.Error("it is gone from all")
	}
	if none := (Progress{}); none.Ready() || none.String() != "no device reports" {
		t.Errorf("without devices: %s", none)
	}
}

// Whatever a device says, it cannot drive a terminal or flood it.
func FuzzJudge(f *testing.F) {
	f.Add("latest@"+published, "ready", "all is well", "2026-01-02T03:04:05Z")
	f.Add("@", "failed", "\x1b[2J\n"+strings.Repeat("é", 400), "yesterday")
	f.Fuzz(func(t *testing.T, revision, state, message, created string) {
		got := judge("d", Artifact{Digest: published, Annotations: map[string]string{
			annotationRevision: revision, annotationState: state, annotationMessage: message, annotationCreated: created,
		}}, published)
		if utf8.RuneCountInString(got.Message) > maxMessage || strings.ContainsFunc(got.Message, unicode.IsControl) {
			t.Errorf("message %q", got.Message)
		}
		if got.State == protocol.DeviceReady && (!strings.HasSuffix(revision, published) || state != "ready") {
			t.Errorf("%q with %q is taken for ready", revision, state)
		}
		if got.Digest != "" && got.Digest != published && !strings.HasSuffix(revision, got.Digest) {
			t.Errorf("digest %q of %q", got.Digest, revision)
		}
	})
}
