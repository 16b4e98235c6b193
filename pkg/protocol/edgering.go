package protocol

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FeatureRings is that of a deploy stage that knows the rings of a group of devices. A
// release to a target with rings refuses one that does not have it: it would give the
// release to all devices at once.
const FeatureRings = "rings"

// maxRings is how many rings a group may have.
const maxRings = 20

// DeviceRing is a part of a group that gets a release before the others: a share, such as
// 10%, or those devices with certain labels.
type DeviceRing struct {
	// Share says up to which share of the group's devices the ring comes, all rings
	// before it included; 0 for a ring by labels. Written as 10%.
	Share int `json:"-"`
	// Labels are those that a device of the ring must have, all of them. Written as
	// {labels: {tier: canary}}.
	Labels map[string]string `json:"-"`
}

// noRing is the label of what was written instead of a ring.
const noRing = ""

// AdvanceWhen is what the devices of a ring must report before the next one is opened.
// Devices that are offline are left out of account.
type AdvanceWhen struct {
	// Healthy is the share of the ring's devices that report ready; 100% when empty.
	Healthy string `json:"healthy,omitempty"`
	// For is how long that must hold.
	For Duration `json:"for,omitempty"`
	// MaxFailed is how many devices may report that they failed, in all open rings
	// together, before all rings go back: a number, or a share of the devices, which is
	// rounded down. None when absent.
	MaxFailed any `json:"maxFailed,omitempty"`
}

// RingState is how far one ring is.
type RingState struct {
	// Tag is what the ring's devices follow: ring-1, ring-2, …; latest for the last one.
	Tag string `json:"tag"`
	// Digest is that of the state under the tag; empty where nothing is.
	Digest string `json:"digest,omitempty"`
	// Open is true when that is the state that was published last.
	Open bool `json:"open,omitempty"`
	// Ready of Total devices run what their tag stands for, and are healthy.
	Ready int `json:"ready"`
	// Total is how many devices are in the ring.
	Total int `json:"total"`
	// Failed devices report that they failed.
	Failed int `json:"failed,omitempty"`
	// Offline devices have not reported for longer than the target allows.
	Offline int `json:"offline,omitempty"`
}

// String is the ring as people write it: 10%, or tier=canary.
func (r DeviceRing) String() string {
	if len(r.Labels) == 0 {
		return strconv.Itoa(r.Share) + "%"
	}
	var words []string
	for _, key := range slices.Sorted(maps.Keys(r.Labels)) {
		words = append(words, key+"="+r.Labels[key])
	}
	return strings.Join(words, ",")
}

// MarshalJSON implements [json.Marshaler].
func (r DeviceRing) MarshalJSON() ([]byte, error) {
	if len(r.Labels) > 0 {
		return json.Marshal(map[string]map[string]string{"labels": r.Labels})
	}
	return json.Marshal(strconv.Itoa(r.Share) + "%")
}

// UnmarshalJSON implements [json.Unmarshaler]. What is no ring is kept for Validate, which
// tells its place.
func (r *DeviceRing) UnmarshalJSON(text []byte) error {
	*r = DeviceRing{}
	var share string
	if json.Unmarshal(text, &share) == nil && percentPattern.MatchString(share) {
		r.Share, _ = strconv.Atoi(strings.TrimSuffix(share, "%"))
		return nil
	}
	var labels map[string]map[string]string
	if json.Unmarshal(text, &labels) == nil && len(labels) == 1 && len(labels["labels"]) > 0 {
		r.Labels = labels["labels"]
		return nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return err
	}
	r.Labels = map[string]string{noRing: compact.String()}
	return nil
}

// RingTags are what the devices of the rings follow: ring-1, ring-2, … and latest. Without
// rings it is latest alone.
func (e EdgeDevice) RingTags() []string {
	var tags []string
	for i := 1; i < len(e.Rings); i++ {
		tags = append(tags, "ring-"+strconv.Itoa(i))
	}
	return append(tags, "latest")
}

// RingOf is the ring of a device, counted from 0: the first one whose labels it has, or
// whose share its place is in. A device's place is a number from 0 to 99 that its name
// alone decides, see [DevicePlace]: that others come or go does not move it.
func (e EdgeDevice) RingOf(device string, labels map[string]string) int {
	place := DevicePlace(device)
	for i, ring := range e.Rings {
		if len(ring.Labels) == 0 && place < ring.Share || len(ring.Labels) > 0 && hasAll(labels, ring.Labels) {
			return i
		}
	}
	return max(0, len(e.Rings)-1)
}

func hasAll(labels, wanted map[string]string) bool {
	for key, value := range wanted {
		if has, ok := labels[key]; !ok || has != value {
			return false
		}
	}
	return true
}

// DevicePlace is a device's place in its group, from 0 to 99: the first eight hexadecimal
// digits of the SHA-256 of its name, modulo 100.
func DevicePlace(device string) int {
	sum := sha256.Sum256([]byte(device))
	return int(binary.BigEndian.Uint32(sum[:4]) % 100)
}

// offlineAfter is the default of [DeviceReports.OfflineAfter] where there are rings.
const offlineAfter = 15 * time.Minute

// OfflineAfterOr is how old a device's last report is when it counts as offline, with its
// default; zero for never.
func (e EdgeDevice) OfflineAfterOr() time.Duration {
	if e.Reports != nil && e.Reports.OfflineAfter > 0 {
		return time.Duration(e.Reports.OfflineAfter)
	}
	if len(e.Rings) > 0 {
		return offlineAfter
	}
	return 0
}

// Advance is AdvanceWhen with its default.
func (e EdgeDevice) Advance() AdvanceWhen {
	if e.AdvanceWhen == nil {
		return AdvanceWhen{}
	}
	return *e.AdvanceWhen
}

// Needed is how many of so many devices must be healthy before the next ring is opened: at
// least one.
func (w AdvanceWhen) Needed(devices int) int {
	if w.Healthy == "" {
		return max(1, devices)
	}
	return max(1, amount(w.Healthy, devices, math.Ceil))
}

// Failures is how many of so many devices may fail before all rings go back.
func (w AdvanceWhen) Failures(devices int) int { return amount(w.MaxFailed, devices, math.Floor) }

func (i PluginInfo) checkRings(target string, edge *EdgeDevice) error {
	if edge == nil || len(edge.Rings) == 0 || slices.Contains(i.Features, FeatureRings) {
		return nil
	}
	return Unsupported("target %q has rings of devices, and plugin harmony-%s %s does not know them: it would release to all devices at once", target, i.Name, i.Version).
		WithHint("update the plugin: its describe must list the feature %s", FeatureRings)
}

func (e EdgeDevice) validateRings(p *problems, field string) {
	if len(e.Rings) == 0 {
		p.must(e.AdvanceWhen == nil, field+".advanceWhen", "is for a group with rings")
		return
	}
	p.must(e.Group != "", field+".rings", "are for a group")
	p.must(e.Reports == nil || !e.Reports.Disabled, field+".rings", "are opened by what devices report: remove reports.disabled")
	p.must(len(e.Rings) > 1 && len(e.Rings) <= maxRings, field+".rings", "has %d rings; from 2 to %d, such as [1%%, 10%%, 100%%]", len(e.Rings), maxRings)
	before := 0
	for i, ring := range e.Rings {
		at := fmt.Sprintf("%s.rings[%d]", field, i)
		odd, isOdd := ring.Labels[noRing]
		switch {
		case isOdd:
			p.add(at, "%s is neither a share such as 10%% nor labels such as {labels: {tier: canary}}", odd)
		case len(ring.Labels) > 0:
			p.ringLabels(at+".labels", ring.Labels)
		default:
			p.must(ring.Share > before, at, "%d%% adds no devices: the rings before it come to %d%%", ring.Share, before)
			before = max(before, ring.Share)
		}
	}
	last := len(e.Rings) - 1
	if _, isOdd := e.Rings[last].Labels[noRing]; !isOdd {
		p.must(e.Rings[last].Share == 100, fmt.Sprintf("%s.rings[%d]", field, last), "the last ring is 100%%: no device is left out")
	}
	if w := e.AdvanceWhen; w != nil {
		at := field + ".advanceWhen"
		p.must(w.Healthy == "" || w.Healthy != "0%" && percentPattern.MatchString(w.Healthy), at+".healthy", "%q is not a share of devices such as 95%%", w.Healthy)
		p.notNegative(at+".for", int64(w.For))
		p.countOrShare(at+".maxFailed", w.MaxFailed, "devices")
	}
}

func (p *problems) ringLabels(field string, labels map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		p.must(deviceLabelPattern.MatchString(key) && deviceLabelPattern.MatchString(labels[key]), field,
			"%s=%s is not a label of a device: letters, digits, dashes, dots and underscores, at most 63", key, labels[key])
	}
}

var deviceLabelPattern = newPattern(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// maxLabels bounds the labels of a device.
const maxLabels = 32

// ParseDeviceLabels reads labels as a device reports them: tier=canary,region=eu.
func ParseDeviceLabels(text string) (map[string]string, error) {
	labels := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		if !deviceLabelPattern.MatchString(key) || !deviceLabelPattern.MatchString(value) {
			return nil, Invalid("%q is not a label of a device such as tier=canary", pair)
		}
		if labels[key] = value; len(labels) > maxLabels {
			return nil, Invalid("a device has at most %d labels", maxLabels)
		}
	}
	return labels, nil
}
