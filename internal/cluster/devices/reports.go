package devices

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The annotations of a report's manifest.
const (
	// annotationRevision is the digest of the state that the report is about, as
	// Flux tells it or alone: latest@sha256:….
	annotationRevision = "org.opencontainers.image.revision"
	annotationCreated  = "org.opencontainers.image.created"
	annotationState    = "harmony.nationtech.io/state"
	annotationMessage  = "harmony.nationtech.io/message"
)

// What is taken of reports: devices are not to be trusted with more.
const (
	maxDevices = 10000
	maxMessage = 300
	atOnce     = 8
)

// Progress is what the devices have reported of a state.
type Progress struct {
	// Devices are all that are known: those named in the topology, else those that
	// have ever reported. They are in the order of their names.
	Devices []protocol.DeviceReport
	// Tombstone is true for the progress of a removal: the devices are to be rid of the
	// app, not to run it.
	Tombstone bool
}

// wanted is the state that all devices are to come to.
func (p Progress) wanted() protocol.DeviceState {
	if p.Tombstone {
		return protocol.DeviceGone
	}
	return protocol.DeviceReady
}

// Done is how many devices have come to what is wanted of them.
func (p Progress) Done() int { return p.Count(p.wanted()) }

// Count is how many devices are in a state.
func (p Progress) Count(state protocol.DeviceState) int {
	n := 0
	for _, d := range p.Devices {
		if d.State == state {
			n++
		}
	}
	return n
}

// Online is how many devices are not offline.
func (p Progress) Online() int { return len(p.Devices) - p.Count(protocol.DeviceOffline) }

// Ready reports that there are devices and that all of them that are not offline are
// ready, or rid of the app.
func (p Progress) Ready() bool { return p.Done() > 0 && p.Done() == p.Online() }

// Missing lists the devices that are not yet in the wanted state, the worst first, at
// most so many.
func (p Progress) Missing(most int) []protocol.DeviceReport {
	return slices.DeleteFunc(p.Worst(most), func(d protocol.DeviceReport) bool { return d.State == p.wanted() })
}

// Failed are the devices that failed.
func (p Progress) Failed() []protocol.DeviceReport {
	return slices.DeleteFunc(slices.Clone(p.Devices), func(d protocol.DeviceReport) bool { return d.State != protocol.DeviceFailed })
}

// String counts: 3 of 5 devices are ready, 1 failed, 1 behind; or: the app is gone from
// 3 of 5 devices, 2 silent.
func (p Progress) String() string {
	if len(p.Devices) == 0 {
		return "no device reports"
	}
	noun, verb := "devices", "are"
	if len(p.Devices) == 1 {
		noun, verb = "device", "is"
	}
	text := fmt.Sprintf("%d of %d %s %s ready", p.Done(), len(p.Devices), noun, verb)
	if p.Tombstone {
		text = fmt.Sprintf("the app is gone from %d of %d %s", p.Done(), len(p.Devices), noun)
	}
	for _, state := range []protocol.DeviceState{protocol.DeviceProgressing, protocol.DeviceFailed, protocol.DeviceBehind, protocol.DeviceSilent, protocol.DeviceGone, protocol.DeviceOffline} {
		if n := p.Count(state); n > 0 && state != p.wanted() {
			text += fmt.Sprintf(", %d %s", n, state)
		}
	}
	return text
}

// Worst are the devices, those that are not ready first, at most so many.
func (p Progress) Worst(most int) []protocol.DeviceReport {
	rank := []protocol.DeviceState{protocol.DeviceFailed, protocol.DeviceProgressing, protocol.DeviceBehind, protocol.DeviceSilent, protocol.DeviceGone, protocol.DeviceOffline, protocol.DeviceReady}
	all := slices.Clone(p.Devices)
	slices.SortStableFunc(all, func(a, b protocol.DeviceReport) int {
		return cmp.Compare(slices.Index(rank, a.State), slices.Index(rank, b.State))
	})
	return all[:min(len(all), most)]
}

// Progress reads what the devices have reported of the state of that digest.
// Where they do not report it reads nothing.
func (p Place) Progress(ctx context.Context, digest string) (Progress, error) {
	names, err := p.known(ctx)
	if err != nil {
		return Progress{}, err
	}
	reports, err := p.read(ctx, names)
	if err != nil {
		return Progress{}, err
	}
	found := make([]protocol.DeviceReport, len(names))
	for i, device := range names {
		found[i] = p.judge(device, reports[i], digest)
	}
	if p.Target.Device != "" && found[0].State == protocol.DeviceSilent {
		found = nil
	}
	return Progress{Devices: found}, nil
}

// read reads the last reports of devices, in their order.
func (p Place) read(ctx context.Context, names []string) ([]Artifact, error) {
	found := make([]Artifact, len(names))
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, device := range names {
		group.Go(func() (err error) {
			found[i], err = p.Reports.Get(reading, device)
			found[i].descriptor = nil
			return err
		})
	}
	return found, group.Wait()
}

// judge is [judge], with devices that have not reported for too long as offline. One that
// has reported on the state itself is not: whatever has become of it since, the state may
// be why.
func (p Place) judge(device string, report Artifact, digest string) protocol.DeviceReport {
	d := judge(device, report, digest)
	after := p.Target.OfflineAfterOr()
	if after == 0 || d.State != protocol.DeviceSilent && d.State != protocol.DeviceBehind {
		return d
	}
	if at, err := time.Parse(time.RFC3339, d.Time); err != nil || time.Since(at) > after {
		d.State = protocol.DeviceOffline
	}
	return d
}

// readyTombstone is what is said of a device that reports a tombstone as it reports any
// other state.
const readyTombstone = "it has applied the tombstone, and does not report whether the app is gone: its report is from before there were tombstones, see docs/edge-devices.md"

// Gone reads what the devices have reported of the tombstone of that digest. One that
// only says that it is ready may have left the app where it was.
func (p Place) Gone(ctx context.Context, digest string) (Progress, error) {
	found, err := p.Progress(ctx, digest)
	found.Tombstone = true
	for i := range found.Devices {
		if d := &found.Devices[i]; d.State == protocol.DeviceReady {
			d.State, d.Message = protocol.DeviceProgressing, readyTombstone
		}
	}
	return found, err
}

// States are those that devices may run or go back to: what they follow, what they
// followed before, and what their reports are about.
func (p Place) States(ctx context.Context) ([]Artifact, error) {
	reported, err := p.Progress(ctx, "")
	if err != nil {
		return nil, err
	}
	wanted := append(p.Target.RingTags(), TagPrevious)
	for _, device := range reported.Devices {
		if device.Digest != "" && !slices.Contains(wanted, device.Digest) {
			wanted = append(wanted, device.Digest)
		}
	}
	var states []Artifact
	for _, reference := range wanted {
		state, err := p.State.Get(ctx, reference)
		if err != nil {
			return nil, err
		}
		if state.Digest != "" {
			states = append(states, state)
		}
	}
	return states, nil
}

// known are the names of the devices, in order.
func (p Place) known(ctx context.Context) ([]string, error) {
	switch reports := p.Target.Reports; {
	case reports.Disabled:
		return nil, nil
	case p.Target.Device != "":
		return []string{p.Target.Device}, nil
	case len(reports.Devices) > 0:
		return slices.Sorted(slices.Values(reports.Devices)), nil
	}
	tags, err := p.Reports.Tags(ctx)
	if err != nil {
		return nil, err
	}
	tags = slices.DeleteFunc(tags, func(tag string) bool { return !protocol.ValidName(tag) })
	if len(tags) > maxDevices {
		return nil, protocol.Invalid("%s has %d tags, and at most %d devices are looked for", p.Reports, len(tags), maxDevices).
			WithHint("remove the tags of devices that are gone, or make smaller groups")
	}
	slices.Sort(tags)
	return tags, nil
}

// judge reads what a report says about the state with the digest.
func judge(device string, report Artifact, digest string) protocol.DeviceReport {
	d := protocol.DeviceReport{Device: device, State: protocol.DeviceSilent}
	if report.Digest == "" {
		return d
	}
	said := report.Annotations[annotationState]
	d.Digest = digestIn(report.Annotations[annotationRevision])
	d.Message = term.Excerpt(report.Annotations[annotationMessage], maxMessage-1)
	if at, err := time.Parse(time.RFC3339, report.Annotations[annotationCreated]); err == nil {
		d.Time = at.UTC().Format(time.RFC3339)
	}
	switch {
	case d.Digest == "" || d.Digest != digest:
		d.State = protocol.DeviceBehind
	case said == string(protocol.DeviceReady):
		d.State = protocol.DeviceReady
	case said == string(protocol.DeviceFailed):
		d.State = protocol.DeviceFailed
	case said == string(protocol.DeviceGone):
		d.State = protocol.DeviceGone
	default: // also a word that is not known here: it is not ready
		d.State = protocol.DeviceProgressing
	}
	return d
}

// digestIn is the digest in a revision, which is the digest alone or, as Flux reports it,
// TAG@DIGEST. It is empty if the revision has none.
func digestIn(revision string) string {
	if _, after, tagged := strings.Cut(revision, "@"); tagged {
		revision = after
	}
	if !isDigest(revision) {
		return ""
	}
	return revision
}

func isDigest(text string) bool {
	hex, ok := strings.CutPrefix(text, "sha256:")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}
