package devices

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/pkg/protocol"
)

// annotationLabels are the labels of a device in its report: tier=canary,region=eu.
const annotationLabels = "harmony.nationtech.io/labels"

// Roster knows the devices of a group by their rings, with what they have reported last.
// It keeps what it has read: of thousands of devices, a rollout asks again only for those
// whose ring is open.
type Roster struct {
	place   Place
	rings   [][]string
	reports map[string]Artifact
}

// Roster reads the reports of all devices of the group.
func (p Place) Roster(ctx context.Context) (*Roster, error) {
	r := &Roster{place: p, reports: map[string]Artifact{}}
	return r, r.ReadAll(ctx)
}

// ReadAll reads the reports of all devices, of which there may be more by now.
func (r *Roster) ReadAll(ctx context.Context) error {
	names, err := r.place.known(ctx)
	if err != nil {
		return err
	}
	if err := r.read(ctx, names); err != nil {
		return err
	}
	r.rings = make([][]string, len(r.place.Target.RingTags()))
	for _, device := range names {
		ring := r.ringOf(device)
		r.rings[ring] = append(r.rings[ring], device)
	}
	return nil
}

// Read reads the reports of the devices of the first rings again.
func (r *Roster) Read(ctx context.Context, rings int) error {
	return r.read(ctx, slices.Concat(r.rings[:rings]...))
}

func (r *Roster) read(ctx context.Context, names []string) error {
	found, err := r.place.read(ctx, names)
	if err != nil {
		return err
	}
	for i, device := range names {
		r.reports[device] = found[i]
	}
	return nil
}

// ringOf is the ring of a device: that of the tag which it says that it follows, else the
// one that its labels and its name give it.
func (r *Roster) ringOf(device string) int {
	notes := r.reports[device].Annotations
	tag, _, tagged := strings.Cut(notes[annotationRevision], "@")
	if i := slices.Index(r.place.Target.RingTags(), tag); tagged && i >= 0 {
		return i
	}
	labels, _ := protocol.ParseDeviceLabels(notes[annotationLabels])
	return r.place.Target.RingOf(device, labels)
}

// Ring is what the devices of a ring have reported of the state of that digest.
func (r *Roster) Ring(ring int, digest string) Progress {
	var p Progress
	for _, device := range r.rings[ring] {
		p.Devices = append(p.Devices, r.place.judge(device, r.reports[device], digest))
	}
	return p
}

// All is what all devices have reported of it.
func (r *Roster) All(digest string) Progress {
	var p Progress
	for ring := range r.rings {
		p.Devices = append(p.Devices, r.Ring(ring, digest).Devices...)
	}
	slices.SortFunc(p.Devices, func(a, b protocol.DeviceReport) int { return strings.Compare(a.Device, b.Device) })
	return p
}

// Opens reports whether a ring has come far enough for the next one to open. The text says
// how far it is, and what it still needs. A ring without devices holds nothing up, unless no
// device of the group is known.
func (r *Roster) Opens(ring int, p Progress) (bool, string) {
	tag := r.place.Target.RingTags()[ring]
	switch needed := r.place.Target.Advance().Needed(p.Online()); {
	case len(r.reports) == 0:
		return false, "no device of " + r.place.Whose() + " has reported to " + r.place.Reports.String()
	case len(p.Devices) == 0:
		return true, tag + " has no devices"
	case p.Online() == 0:
		return false, fmt.Sprintf("%s waits: all of its %d devices are offline", tag, len(p.Devices))
	case p.Done() < needed:
		return false, fmt.Sprintf("%s waits: %s; %d must be ready", tag, p, needed)
	}
	return true, tag + ": " + p.String()
}

// Follows are the states that the rings follow, in their order; the zero value for a ring
// that follows none.
func (p Place) Follows(ctx context.Context) ([]Artifact, error) {
	tags := p.Target.RingTags()
	states := make([]Artifact, len(tags))
	for i, tag := range tags {
		var err error
		if states[i], err = p.State.Get(ctx, tag); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// Newest is the state that was published last, of those that the rings follow: the first
// ring gets it first.
func Newest(follows []Artifact) Artifact {
	for _, state := range follows {
		if state.Digest != "" {
			return state
		}
	}
	return Artifact{}
}

// Strays are the tags of rings that the topology does not have any more. Devices may still
// follow them.
func (p Place) Strays(ctx context.Context) ([]string, error) {
	tags, err := p.State.Tags(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(tags, func(tag string) bool { return !isRing(tag) || slices.Contains(p.Target.RingTags(), tag) }), nil
}

// Version is that of the app in a state, for people.
func (a Artifact) Version() string {
	if a.IsTombstone() {
		return "no version: the app was uninstalled"
	}
	return cmp.Or(a.Annotations[marks.Version], a.Digest)
}
