// Package edge delivers to devices that no stage can reach: it publishes what is
// to run on them as an OCI artifact in Flux's format, under a name that the
// devices know, and passes on what they report.
//
// It holds for edgeDevice targets, whichever adapter delivers to the clusters of
// the topology. Nothing is said to run that no device has reported to run.
package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Name is the adapter's name in results.
const Name = "edge"

// New makes the adapter. It has no settings and needs no way to a cluster: the
// target says everything.
func New(*conn.Flags) capability.Adapter[delivery.Adapter] {
	return func(_ context.Context, env capability.Environment) (delivery.Adapter, error) {
		return &adapter{delivery.Unsupported(Name), env}, nil
	}
}

// adapter is safe for use by several goroutines: a call holds its own state.
type adapter struct {
	delivery.Unsupported
	env capability.Environment
}

// deployment is one call of Deploy.
type deployment struct {
	place    devices.Place
	topology protocol.Topology
	dryRun   bool
	progress func(protocol.Event)

	app    protocol.AppSpec
	target string
	image  protocol.ImageRef
	chart  protocol.ChartRef
	values map[string]any
	// irreversible is that of the chart.
	irreversible string
	// tombstone is true when the devices are to be rid of the app.
	tombstone bool
}

// Deploy implements [capability.ContinuousDelivery]. The result is
// protocol.OutcomePublished until every known device has reported that it runs
// this state and is healthy. A device that has reported that it failed with it is
// an error; so is one that has not become ready in the time that the target says
// it is awaited.
func (a *adapter) Deploy(ctx context.Context, app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (protocol.DeployResult, error) {
	d, err := a.prepare(app, target, image, chart)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	result, err := d.run(ctx)
	return ended(ctx, "deploy "+app.Name+" to "+target, result, err)
}

// ended is the end of a call. what names it for people.
func ended(ctx context.Context, what string, result protocol.DeployResult, err error) (protocol.DeployResult, error) {
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		return protocol.DeployResult{}, fmt.Errorf("%s: %w", what, err)
	}
	return result, nil
}

// GiveBack is unsupported: nothing on a device was taken over.
func (a *adapter) GiveBack(context.Context, protocol.AppSpec, string) (protocol.DeployResult, error) {
	return protocol.DeployResult{}, protocol.Unsupported("adopt does not reach edge devices: nothing was taken over there")
}

// open makes a deployment that only reads.
func (a *adapter) open(app protocol.AppSpec, target string) (*deployment, error) {
	place, err := devices.Of(a.env.Topology, target, app.Name)
	if err != nil {
		return nil, err
	}
	return &deployment{
		place: place, topology: a.env.Topology, dryRun: a.env.DryRun, app: app, target: target,
		progress: delivery.Progress(a.env, app),
	}, nil
}

// prepare opens a deployment of an image and a chart, and refuses those that no
// device could pull.
func (a *adapter) prepare(app protocol.AppSpec, target string, image protocol.ImageRef, chart protocol.ChartRef) (*deployment, error) {
	d, err := a.open(app, target)
	if err != nil {
		return nil, err
	}
	d.image, d.chart = image, chart
	set, err := values.InClear(app, target, "what devices pull")
	if err != nil {
		return nil, err
	}
	d.values = set.All
	for _, one := range image.All() {
		if one.Location != protocol.InRegistry && one.Location != "" && !d.dryRun {
			return nil, protocol.Unsupported("image %s of %s is not in a registry: devices pull it", one, app.Name).
				WithHint("set spec.ociRegistry of the topology to {adapter: oci, url: …}")
		}
	}
	switch {
	case chart.URL == "" && d.place.Target.FormOr() == protocol.EdgeHelmRelease:
		return nil, protocol.Unsupported("the chart of %s is a file on this machine: devices pull it", app.Name).
			WithHint("set spec.helmRegistry of the topology to {adapter: oci, url: …}, or the target's form to %s", protocol.EdgeManifests)
	}
	return d, delivery.Published(a.env, app, image, chart)
}

// run publishes the state where devices do not follow it already, and
// returns what they report.
func (d *deployment) run(ctx context.Context) (protocol.DeployResult, error) {
	if d.dryRun && (d.chart.Digest == "" || !d.image.AllPinned()) {
		return d.result(published{}, devices.Progress{}), nil // not known before it is published
	}
	artifact, err := d.artifact(ctx)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	if d.ringed() {
		return d.rollOut(ctx, artifact)
	}
	p, err := d.publish(ctx, protocol.TagOf(d.app.Version), artifact)
	if err != nil || d.dryRun {
		return d.result(p, devices.Progress{}), err
	}
	reported, err := d.await(ctx, p.digest)
	if err != nil {
		return protocol.DeployResult{}, err
	}
	return d.result(p, reported), nil
}

// await reads what the devices have reported of the state, until all are ready
// when the target says so.
func (d *deployment) await(ctx context.Context, digest string) (devices.Progress, error) {
	timeout := time.Duration(d.place.Target.Reports.Await)
	deadline := time.Now().Add(timeout)
	last := ""
	for pause := time.Second; ; pause = min(2*pause, 15*time.Second) {
		reported, err := d.reports(ctx, digest)
		left := time.Until(deadline)
		passing := protocol.ExitCode(err) == protocol.ExitRetryable && left > 0
		if err != nil && (timeout > 0 && !passing || ctx.Err() != nil) {
			return reported, err
		}
		if err != nil {
			d.progress(protocol.Event{Phase: "warning", Message: "the devices' reports cannot be read: " + err.Error()})
		}
		if text := reported.String(); err == nil && text != last {
			last = text
			d.progress(protocol.Event{
				Phase: "devices", Current: int64(reported.Done()), Total: int64(len(reported.Devices)), Unit: "devices", Message: text,
			})
		}
		if failed := reported.Failed(); len(failed) > 0 {
			return reported, failure(failed)
		}
		if timeout == 0 || reported.Ready() {
			return reported, nil // the state is published, whatever is known of the devices
		}
		if left <= 0 {
			return reported, d.late(reported, timeout)
		}
		select {
		case <-ctx.Done():
			return reported, ctx.Err()
		case <-time.After(min(pause, left)):
		}
	}
}

// reports reads what the devices have reported of a state, or of a tombstone.
func (d *deployment) reports(ctx context.Context, digest string) (devices.Progress, error) {
	if d.tombstone {
		return d.place.Gone(ctx, digest)
	}
	return d.place.Progress(ctx, digest)
}

// told is how many devices a message names.
const told = 5

func failure(failed []protocol.DeviceReport) error {
	if len(failed) == 1 {
		return fmt.Errorf("device %s reports that it failed: %s", failed[0].Device, failed[0].Message)
	}
	var lines []string
	for _, device := range failed {
		lines = append(lines, device.Device+": "+device.Message)
	}
	return fmt.Errorf("%d devices report that they failed:%s", len(failed), term.Listed(lines, told))
}

// late reports the devices that have not reported yet: they may be switched off.
func (d *deployment) late(reported devices.Progress, after time.Duration) error {
	text := ""
	for _, device := range reported.Missing(told) {
		text += "\n  " + device.Device + ": " + string(device.State)
		if device.Time != "" {
			text += ", reported " + device.Time
		}
	}
	what, again := "state", "deploy"
	if d.tombstone {
		what, again = "tombstone", "uninstall"
	}
	return protocol.Retryable("after %s %s%s", after, reported, text).
		WithHint("the %s is published, and devices apply it when they can; run the same %s again to keep waiting", what, again)
}

// mostDevices is how many devices a result names.
const mostDevices = 500

func (d *deployment) result(p published, reported devices.Progress) protocol.DeployResult {
	r := protocol.DeployResult{
		Metadata: d.app.Metadata, Target: d.target, Adapter: Name, Namespace: d.place.Target.Namespace, Release: d.app.Name,
		Outcome: protocol.OutcomePublished, Planned: d.dryRun, Irreversible: d.irreversible,
		PreviousImage: p.previous.Annotations[marks.Image], PreviousChart: p.previous.Annotations[marks.Chart],
		Published: &protocol.PublishedState{
			URL: d.place.URL(), Digest: p.digest, Image: d.image.Digest, Images: d.image.ImageDigests(), Chart: d.chart.Digest, Unchanged: p.unchanged,
			Tombstone: d.tombstone,
			Ready:     reported.Done(), Total: len(reported.Devices), Devices: reported.Worst(mostDevices),
		},
	}
	if !reported.Ready() {
		return r
	}
	r.Image, r.Images, r.Chart = d.image.Digest, d.image.ImageDigests(), d.chart.Digest
	switch {
	case p.unchanged:
		r.Outcome = protocol.OutcomeUnchanged
	case p.previous.Digest == "" || p.previous.IsTombstone():
		r.Outcome = protocol.OutcomeInstalled
	default:
		r.Outcome = protocol.OutcomeUpgraded
	}
	return r
}

// stateRemoving is that of an app that is not gone from all devices yet.
const stateRemoving = "removing"

// Status shows what is published for the devices of a target and what they report
// of it, with an entry for each device that is not ready.
func (a *adapter) Status(ctx context.Context, app protocol.AppSpec, target string) ([]status.Entry, error) {
	d, err := a.open(app, target)
	if err != nil {
		return nil, err
	}
	now, _, err := d.newest(ctx)
	if err != nil {
		return nil, err
	}
	e := status.Entry{App: app.Name, Target: target, Device: d.place.Whose(), Namespace: d.place.Target.Namespace, State: status.Absent}
	if now.Digest == "" {
		return []status.Entry{e}, nil
	}
	d.tombstone = now.IsTombstone()
	if d.ringed() && !d.tombstone {
		e.Adapter = Name
		return d.ringStatus(ctx, e)
	}
	reported, err := d.reports(ctx, now.Digest)
	if err != nil {
		return nil, err
	}
	if d.tombstone && reported.Ready() {
		return []status.Entry{e}, nil
	}
	d.become(now)
	e.Adapter, e.Object, e.State = Name, d.place.URL(), status.Published
	e.Version, e.Image, e.Images, e.Chart = d.app.Version, d.image.Digest, d.image.ImageDigests(), d.chart.Digest
	e.Healthy, e.Message = reported.Ready(), reported.String()
	switch {
	case d.tombstone:
		e.State = stateRemoving
	case e.Healthy:
		e.State = string(protocol.DeviceReady)
	}
	entries := []status.Entry{e}
	for _, device := range reported.Missing(mostDevices) {
		entries = append(entries, entryOf(e, device))
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
		e.Message = "its report is about another state, " + cmp.Or(device.Digest, "without a digest")
	}
	return e
}
