package edge

import (
	"context"
	"fmt"

	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/protocol"
)

// abort takes every ring that follows the state back to the one before. The record is
// written first: a run that is killed in between leaves that to the next one.
func (r *rollout) abort(ctx context.Context, why string) error {
	told := fmt.Sprintf("the rollout of %s %s to %s was given up: %s", r.app.Name, r.app.Version, r.place.Whose(), why)
	if err := r.look(ctx); err != nil {
		return fmt.Errorf("%s; and its rings cannot be taken back: %w", told, err)
	}
	if r.record.Digest != r.digest {
		return r.superseded()
	}
	if !r.record.Is(devices.Aborted, r.digest) {
		r.record.Stage, r.record.Why = devices.Aborted, why
		if err := r.place.SetRollout(ctx, r.record); err != nil {
			return fmt.Errorf("%s; and its rings cannot be taken back: %w", told, err)
		}
	}
	if r.record.Before == "" {
		return &protocol.Error{
			Code: protocol.ExitSmoke, Message: told + "\nno state was published before: the open rings stay on this one",
			Hint: "harmony uninstall " + r.app.Name + " --target " + r.target + " takes it off the devices",
		}
	}
	before, err := r.undo(ctx)
	if err != nil {
		return fmt.Errorf("%s; and its rings cannot be taken back: %w", told, err)
	}
	return &protocol.Error{
		Code: protocol.ExitSmoke, Message: told + "\nall rings follow " + before.Version() + " again, " + before.Digest,
		Hint: "release a version that does better; to try this one again, remove the tag " + devices.TagRollout + " of " + r.place.State.String() + " first",
	}
}

// undo has the rings that follow the state of an aborted rollout follow the one before,
// the last ring first. That may be another state than the one that is deployed now, which
// an earlier run did not come to the end of.
func (r *rollout) undo(ctx context.Context) (devices.Artifact, error) {
	before, err := r.place.State.Get(ctx, r.record.Before)
	if err == nil && before.Digest == "" {
		err = fmt.Errorf("the state before, %s, is not in %s any more", r.record.Before, r.place.State)
	}
	if err != nil {
		return before, err
	}
	for i := len(r.tags) - 1; i >= 0; i-- {
		if r.follows[i].Digest != r.record.Digest {
			continue
		}
		if err := r.place.State.Tag(ctx, r.tags[i], before); err != nil {
			return before, err
		}
		if i == len(r.tags)-1 {
			err = r.takeAlong(ctx, before)
		}
		if err != nil {
			return before, err
		}
		r.follows[i] = before
	}
	return before, nil
}

// newest is the state that was published last, for any ring, and latest the one that the
// last ring follows.
func (d *deployment) newest(ctx context.Context) (newest, latest devices.Artifact, err error) {
	follows, err := d.place.Follows(ctx)
	if err != nil {
		return devices.Artifact{}, devices.Artifact{}, err
	}
	return devices.Newest(follows), follows[len(follows)-1], nil
}

// before is the state to go back to from the newest one: of a rollout that is on its way,
// the one that it began from. The zero value says that it is the previous one, or the one of
// the version that was asked for.
func (d *deployment) before(ctx context.Context, newest devices.Artifact, to string) (devices.Artifact, error) {
	if !d.ringed() || to != "" {
		return devices.Artifact{}, nil
	}
	record, err := d.place.Rollout(ctx)
	if err != nil {
		return devices.Artifact{}, err
	}
	if record.Is(devices.Rolling, newest.Digest) && record.Before == "" {
		return devices.Artifact{}, protocol.Invalid("no state of %s was published for %s before this one", d.app.Name, d.place.Whose()).
			WithHint("harmony uninstall %s --target %s takes it off the devices", d.app.Name, d.target)
	}
	if record.Is(devices.Rolling, newest.Digest) {
		return d.place.State.Get(ctx, record.Before)
	}
	if latest, err := d.place.State.Get(ctx, devices.TagLatest); err != nil || latest.Digest != newest.Digest {
		return latest, err // what an earlier rollback was killed at
	}
	return devices.Artifact{}, nil
}

// returnTo has all rings follow an earlier state at once. newest is the one that was
// published last: if its rollout is on its way, it is given up, by every run that waits
// for it too.
func (d *deployment) returnTo(ctx context.Context, earlier, newest, latest devices.Artifact) error {
	if !d.ringed() {
		return d.follow(ctx, earlier, earlier.Digest, latest)
	}
	record, err := d.place.Rollout(ctx)
	if err != nil {
		return err
	}
	if record.Is(devices.Rolling, newest.Digest) {
		record.Stage, record.Why = devices.Aborted, "it was rolled back"
	} else if !record.Is(devices.Aborted, newest.Digest) {
		record = devices.Rollout{Digest: earlier.Digest, Stage: devices.Done}
	}
	if err := d.place.SetRollout(ctx, record); err != nil {
		return err
	}
	return d.allFollow(ctx, earlier, latest)
}

// allFollow has all rings follow a state at once; the last one first, for it is what an
// interrupted run goes on from.
func (d *deployment) allFollow(ctx context.Context, to, latest devices.Artifact) error {
	if latest.Digest != to.Digest {
		if err := d.follow(ctx, to, to.Digest, latest); err != nil {
			return err
		}
	}
	follows, err := d.place.Follows(ctx)
	if err != nil {
		return err
	}
	for i, tag := range d.place.Target.RingTags() {
		if follows[i].Digest == to.Digest {
			continue
		}
		if err := d.place.State.Tag(ctx, tag, to); err != nil {
			return err
		}
	}
	return nil
}

// ringStatus is an entry for each ring, and for each device that is not ready.
func (d *deployment) ringStatus(ctx context.Context, e status.Entry) ([]status.Entry, error) {
	follows, err := d.place.Follows(ctx)
	if err != nil {
		return nil, err
	}
	roster, err := d.place.Roster(ctx)
	if err != nil {
		return nil, err
	}
	record, err := d.place.Rollout(ctx)
	if err != nil {
		return nil, err
	}
	var entries []status.Entry
	for i, tag := range d.place.Target.RingTags() {
		reported := roster.Ring(i, follows[i].Digest)
		one := e
		one.Device, one.Object = d.place.Whose()+" "+tag, "oci://"+d.place.State.String()+":"+tag
		if follows[i].Digest != "" {
			d.become(follows[i])
			one.State, one.Healthy, one.Message = status.Published, reported.Ready(), reported.String()
			one.Version, one.Image, one.Images, one.Chart = d.app.Version, d.image.Digest, d.image.ImageDigests(), d.chart.Digest
		}
		if one.Healthy {
			one.State = string(protocol.DeviceReady)
		}
		if i == 0 && record.Stage == devices.Aborted {
			one.Message += "; the last rollout was given up: " + record.Why
		}
		entries = append(entries, one)
		for _, device := range reported.Missing(mostDevices) {
			entries = append(entries, entryOf(one, device))
		}
	}
	return entries, nil
}
