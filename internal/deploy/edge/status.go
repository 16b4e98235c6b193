package edge

import (
	"cmp"
	"context"
	"time"

	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Status tells what is published for the devices of a target and what they report
// of it, with an entry for each device that is not ready.
func (a *adapter) Status(ctx context.Context, app protocol.AppSpec, target string) ([]status.Entry, error) {
	d, err := a.open(app, target)
	if err != nil {
		return nil, err
	}
	now, err := d.place.State.Get(ctx, devices.TagLatest)
	if err != nil {
		return nil, err
	}
	e := status.Entry{App: app.Name, Target: target, Device: d.place.Whose(), Namespace: d.place.Target.Namespace, State: status.Absent}
	if now.Digest == "" {
		return []status.Entry{e}, nil
	}
	reported, err := d.place.Progress(ctx, now.Digest)
	if err != nil {
		return nil, err
	}
	d.become(now)
	e.Adapter, e.Object, e.State = Name, d.place.URL(), status.Published
	e.Version, e.Image, e.Chart = d.app.Version, d.image.Digest, d.chart.Digest
	e.Healthy, e.Message = reported.Ready(), reported.String()
	if e.Healthy {
		e.State = string(protocol.DeviceReady)
	}
	entries := []status.Entry{e}
	for _, device := range reported.Worst(mostDevices) {
		if device.State != protocol.DeviceReady {
			entries = append(entries, entryOf(e, device))
		}
	}
	return entries, nil
}

func entryOf(of status.Entry, device protocol.DeviceReport) status.Entry {
	e := status.Entry{
		App: of.App, Target: of.Target, Device: device.Device, Namespace: of.Namespace, Adapter: Name, Object: "report of " + device.Device,
		State: string(device.State), Message: device.Message,
	}
	if at, err := time.Parse(time.RFC3339, device.Time); err == nil {
		e.Since = &at
	}
	if device.State == protocol.DeviceBehind {
		e.Message = "it reports of another state, " + cmp.Or(device.Digest, "without a digest")
	}
	return e
}
