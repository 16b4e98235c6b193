package edge

import (
	"cmp"
	"context"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/protocol"
)

// rollout brings a state to a group ring by ring. All that counts is in the registry: the
// rings' tags, the record of the rollout, and the reports of the devices. It may be killed
// at any moment, and the next run goes on from there.
type rollout struct {
	*deployment
	tags   []string
	digest string
	// follows are the states that the rings follow, record is the rollout that was begun
	// last, and to is the state as it lies in the registry.
	follows []devices.Artifact
	record  devices.Rollout
	to      devices.Artifact
	roster  *devices.Roster
	// opened is how many rings this run has seen open, and ran holds the devices that
	// have reported on the state.
	opened int
	ran    map[string]bool
	// waits says what the next ring waits for.
	waits string
	p     published
}

func (d *deployment) ringed() bool { return len(d.place.Target.Rings) > 0 }

// rollOut publishes the state to the rings.
func (d *deployment) rollOut(ctx context.Context, image v1.Image) (protocol.DeployResult, error) {
	digest, err := image.Digest()
	if err != nil {
		return protocol.DeployResult{}, err
	}
	r := &rollout{deployment: d, tags: d.place.Target.RingTags(), digest: digest.String(), ran: map[string]bool{}}
	if err := r.look(ctx); err != nil {
		return protocol.DeployResult{}, err
	}
	r.p = published{digest: r.digest, unchanged: r.open() == len(r.tags), previous: r.follows[len(r.tags)-1]}
	if r.record.Is(devices.Rolling, r.digest) && r.p.previous.Digest == r.digest && r.record.Before != r.digest {
		r.p.previous, err = d.place.State.Get(ctx, cmp.Or(r.record.Before, devices.TagPrevious))
	}
	if err == nil && r.open() == 0 {
		err = r.mayReplace()
	}
	if err != nil || d.dryRun {
		return r.deployed(), err
	}
	if r.record.Is(devices.Aborted, r.digest) {
		return protocol.DeployResult{}, r.abort(ctx, r.record.Why)
	}
	if err := r.begin(ctx, image); err != nil {
		return protocol.DeployResult{}, err
	}
	if err := r.run(ctx); err != nil {
		return protocol.DeployResult{}, err
	}
	return r.deployed(), nil
}

// mayReplace refuses, where the topology says so, to replace a newer version on any ring.
func (r *rollout) mayReplace() error {
	for _, state := range r.follows {
		if err := delivery.Downgrade(r.topology, r.app, r.target, state.Annotations[marks.Version]); err != nil {
			return err
		}
	}
	return nil
}

// look reads what the rings follow, and the record.
func (r *rollout) look(ctx context.Context) (err error) {
	if r.follows, err = r.place.Follows(ctx); err != nil {
		return err
	}
	r.record, err = r.place.Rollout(ctx)
	return err
}

// open is how many rings, from the first on, follow the state.
func (r *rollout) open() int {
	for i, state := range r.follows {
		if state.Digest != r.digest {
			return i
		}
	}
	return len(r.follows)
}

// begin puts the state into the registry and records that its rollout begins, unless that
// is done. Rings that follow nothing yet get what the last one follows.
func (r *rollout) begin(ctx context.Context, image v1.Image) (err error) {
	if r.record.Stage == devices.Aborted && r.record.Before != "" {
		if _, err := r.undo(ctx); err != nil {
			return err
		}
	}
	last := r.follows[len(r.follows)-1]
	if r.open() < len(r.tags) {
		r.progress(protocol.Event{Phase: "publish", Message: r.place.URL() + "@" + r.digest})
		if err := r.place.State.Push(ctx, protocol.TagOf(r.app.Version), image); err != nil {
			return err
		}
	}
	if r.to, err = r.place.State.Get(ctx, r.digest); err != nil {
		return err
	}
	for i, state := range r.follows {
		if state.Digest == "" && last.Digest != "" {
			if err := r.place.State.Tag(ctx, r.tags[i], last); err != nil {
				return err
			}
			r.follows[i] = last
		}
	}
	if r.open() == len(r.tags) || r.record.Is(devices.Rolling, r.digest) {
		return nil
	}
	before := last.Digest
	if before == r.digest { // a ring was moved by hand
		before = r.record.Before
	}
	r.record = devices.Rollout{Digest: r.digest, Before: before, Stage: devices.Rolling}
	return r.place.SetRollout(ctx, r.record)
}

// run goes through the rings for as long as the target says that devices are awaited.
func (r *rollout) run(ctx context.Context) (err error) {
	if r.roster, err = r.place.Roster(ctx); err != nil {
		return err
	}
	timeout := time.Duration(r.place.Target.Reports.Await)
	deadline := time.Now().Add(timeout)
	told := ""
	for pause := time.Second; ; pause = min(2*pause, 15*time.Second) {
		opened, err := r.step(ctx)
		left := time.Until(deadline)
		if err != nil && (ctx.Err() != nil || protocol.ExitCode(err) != protocol.ExitRetryable || left <= 0) {
			return err
		}
		if err != nil {
			r.waits = err.Error()
		}
		if r.waits != told {
			all := r.roster.All(r.digest)
			told = r.waits
			r.progress(protocol.Event{Phase: "rings", Current: int64(all.Done()), Total: int64(len(all.Devices)), Unit: "devices", Message: r.waits})
		}
		switch {
		case opened:
			pause = time.Second / 2
			continue
		case r.waits == "" || timeout == 0:
			return nil
		case left <= 0:
			return protocol.Retryable("after %s %s", timeout, r.waits).
				WithHint("the rings stay as they are; run the same deploy again to go on, or harmony rollback %s --target %s to give it up", r.app.Name, r.target)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(pause, left)):
		}
	}
}

// step looks once, and reports whether it opened a ring. What it waits for otherwise is in
// waits; empty when the state is everywhere, and healthy.
func (r *rollout) step(ctx context.Context) (opened bool, err error) {
	if err := r.look(ctx); err != nil {
		return false, err
	}
	switch rolling := r.record.Is(devices.Rolling, r.digest); {
	case r.record.Is(devices.Aborted, r.digest):
		return false, r.abort(ctx, r.record.Why)
	case r.record.Digest != r.digest && r.open() < len(r.tags), r.open() < r.opened:
		return false, r.superseded()
	case rolling && r.open() == 0:
		return true, r.openNext(ctx)
	}
	r.opened = max(r.opened, r.open())
	if err := r.roster.Read(ctx, r.open()); err != nil {
		return false, err
	}
	if err := r.count(ctx); err != nil {
		return false, err
	}
	ring := r.open() - 1
	opens, text := r.roster.Opens(ring, r.roster.Ring(ring, r.digest))
	if opens, err = r.forLong(ctx, r.tags[ring], opens, &text); err != nil {
		return false, err
	}
	r.waits = ""
	switch {
	case !opens:
		r.waits = text
		return false, nil
	case r.open() < len(r.tags):
		return true, r.openNext(ctx)
	case r.record.Is(devices.Rolling, r.digest):
		r.record.Stage = devices.Done
		return false, r.place.SetRollout(ctx, r.record)
	}
	return false, nil
}

func (r *rollout) superseded() error {
	now := devices.Newest(r.follows)
	return &protocol.Error{
		Code: protocol.ExitFailed, Message: fmt.Sprintf("the rings of %s were changed by somebody else, to %s, %s", r.place.Whose(), now.Version(), now.Digest),
		Hint: "harmony status --target " + r.target + " shows what they follow",
	}
}

// count looks for failed devices in the open rings, and gives up when there are more than
// the target allows. When the rollout is over, they fail the deploy and no more.
func (r *rollout) count(ctx context.Context) error {
	var open devices.Progress
	for ring := range r.open() {
		open.Devices = append(open.Devices, r.roster.Ring(ring, r.digest).Devices...)
	}
	for _, device := range open.Devices {
		if device.Digest == r.digest {
			r.ran[device.Device] = true
		}
	}
	most := r.place.Target.Advance().Failures(open.Online())
	failed := open.Failed()
	if len(failed) <= most {
		return nil
	}
	if !r.record.Is(devices.Rolling, r.digest) {
		return failure(failed)
	}
	limit := "none may"
	if most > 0 {
		limit = fmt.Sprintf("at most %d may", most)
	}
	all := len(r.roster.All(r.digest).Devices)
	why := fmt.Sprintf("%d of the %d devices that ran it failed, and %s; the group has %d", len(failed), len(r.ran), limit, all)
	return fmt.Errorf("%w\n%w", r.abort(ctx, why), failure(failed))
}

// forLong holds a ring back until it has been as healthy as it must be for as long as the
// target says. The record tells since when.
func (r *rollout) forLong(ctx context.Context, tag string, opens bool, text *string) (bool, error) {
	when := r.place.Target.Advance()
	if when.For == 0 || !r.record.Is(devices.Rolling, r.digest) {
		return opens, nil
	}
	counted := r.record.Ring == tag && !r.record.Since.IsZero()
	switch {
	case !opens && !counted:
		return false, nil
	case !opens:
		r.record.Ring, r.record.Since = "", time.Time{}
		return false, r.place.SetRollout(ctx, r.record)
	case !counted:
		r.record.Ring, r.record.Since = tag, time.Now()
		if err := r.place.SetRollout(ctx, r.record); err != nil {
			return false, err
		}
	}
	end := r.record.Since.Add(time.Duration(when.For))
	if time.Now().Before(end) {
		*text = fmt.Sprintf("%s; it must stay so until %s", *text, end.Local().Format(time.TimeOnly))
		return false, nil
	}
	return true, nil
}

// openNext lets the next ring follow the state. With the last one the state before becomes
// the one that a rollback returns to. Reading the reports may have taken a while: what
// somebody else did meanwhile is for the next step.
func (r *rollout) openNext(ctx context.Context) error {
	ring := r.open()
	if err := r.look(ctx); err != nil || !r.record.Is(devices.Rolling, r.digest) || r.open() != ring {
		return err
	}
	tag := r.tags[ring]
	r.progress(protocol.Event{Phase: "publish", Message: "opens " + tag + " of " + r.place.Whose() + " for version " + r.app.Version})
	if ring == len(r.tags)-1 {
		if err := r.follow(ctx, r.to, r.digest, r.follows[ring]); err != nil {
			return err
		}
	} else if err := r.place.State.Tag(ctx, tag, r.to); err != nil {
		return err
	}
	return r.roster.ReadAll(ctx) // there may be more devices by now
}

// deployed is the result of a rollout as far as it has come.
func (r *rollout) deployed() protocol.DeployResult {
	if r.roster == nil {
		return r.result(r.p, devices.Progress{})
	}
	all := r.roster.All(r.digest)
	result := r.result(r.p, all)
	if result.Published.Waits = r.waits; r.waits != "" {
		result.Outcome, result.Image, result.Images, result.Chart = protocol.OutcomePublished, "", nil, ""
	}
	result.Published.Rings = ringStates(r.roster, r.tags, r.follows, r.digest)
	return result
}

// ringStates are the rings with what their devices report of the states that they follow.
func ringStates(roster *devices.Roster, tags []string, follows []devices.Artifact, newest string) []protocol.RingState {
	var states []protocol.RingState
	for i, tag := range tags {
		reported := roster.Ring(i, follows[i].Digest)
		states = append(states, protocol.RingState{
			Tag: tag, Digest: follows[i].Digest, Open: follows[i].Digest == newest, Ready: reported.Done(), Total: len(reported.Devices),
			Failed: reported.Count(protocol.DeviceFailed), Offline: reported.Count(protocol.DeviceOffline),
		})
	}
	return states
}
