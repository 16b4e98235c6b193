package fan

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nationtech/harmony/internal/cluster/waves"
	"github.com/nationtech/harmony/internal/smoke"
	"github.com/nationtech/harmony/pkg/protocol"
)

// between is what happens to a rollout between its waves. It is nil in a dry run, for one
// of the clusters alone, and for work that is no deploy.
type between struct {
	*course
	*rollout
	// follows has the command stay while the rollout waits or is paused.
	follows bool
	// stays says that clusters whose checks fail are not rolled back.
	stays bool
	// held says that the rollout goes no further for now.
	held bool
}

// mayBegin reports whether a wave, counted from zero, may begin. Waves that are over are
// gone through again: their clusters answer that nothing is to be done.
func (b *between) mayBegin(ctx context.Context, wave int) (bool, error) {
	if b == nil || wave < b.record.Done {
		return true, nil
	}
	if wave > 0 || b.resumed { // somebody may have said something meanwhile
		if err := b.look(ctx); err != nil {
			return false, err
		}
	}
	return b.goesOn(ctx)
}

// look reads the record.
func (b *between) look(ctx context.Context) error {
	return b.update(ctx, func(*waves.Record, time.Time) {})
}

// goesOn reports whether the rollout may go on now. One that is followed is waited for.
func (b *between) goesOn(ctx context.Context) (bool, error) {
	told := ""
	for b.record.State == waves.Paused {
		if !b.follows {
			b.held = true
			return false, nil
		}
		if text := b.record.String(); text != told {
			told = text
			b.say("wait", "the rollout is "+text)
		}
		if err := errors.Join(sleep(ctx, look), b.look(ctx)); err != nil {
			return false, err
		}
	}
	if b.record.State == waves.Aborted {
		return false, b.aborted()
	}
	return true, nil
}

func (b *between) aborted() error {
	return &protocol.Error{
		Code: protocol.ExitFailed, Message: "the rollout was " + b.record.String(),
		Hint: fmt.Sprintf("clusters that run the new release keep it; to take them back: harmony rollout abort %s --target %s --take-back", b.app.Name, b.target),
	}
}

func (b *between) say(phase, text string) {
	b.env.Progress(protocol.Event{Metadata: b.app.Metadata, Phase: phase, Message: text})
}

// waits tells what a held rollout waits for, and what continues it.
func (b *between) waits() string {
	of := fmt.Sprintf("%s --target %s", b.app.Name, b.target)
	if b.record.State == waves.Waiting {
		return fmt.Sprintf("%s; the same release, run again, continues it then, or at once after harmony rollout resume %s", b.record, of)
	}
	return fmt.Sprintf("is %s; harmony rollout resume %s, and then the same release, run again, continue it", b.record, of)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// after does what is to happen after a wave over the clusters from start to end, and
// reports whether the next one may begin. It does nothing when that happened before, or
// when the clusters ran the release before the rollout.
func (b *between) after(ctx context.Context, wave, start, end int, gate protocol.Gate) (bool, error) {
	if b == nil {
		return true, nil
	}
	changed, err := b.note(ctx, wave, start, end)
	if err != nil || wave < b.record.Done {
		return true, err
	}
	pause := ""
	if changed || b.resumed {
		if ok, err := b.gate(ctx, start, end, gate); err != nil || !ok || b.stopped() {
			return false, err
		}
		if gate.Pause {
			pause = "the topology"
		}
	}
	err = b.update(ctx, func(r *waves.Record, now time.Time) {
		r.Passed()
		switch {
		case r.State == waves.Paused || r.State == waves.Aborted: // by somebody, meanwhile
		case pause != "":
			r.Enter(waves.Paused, pause, now)
		default:
			r.Enter(waves.Rolling, "", now)
		}
	})
	if err != nil {
		return false, err
	}
	return b.goesOn(ctx)
}

// note takes down which clusters of a wave were upgraded. A wave that was worked on is not
// over, whatever the record said.
func (b *between) note(ctx context.Context, wave, start, end int) (changed bool, err error) {
	for _, e := range b.done[start:end] {
		changed = changed || e.outcome == protocol.OutcomeUpgraded || e.outcome == protocol.OutcomeInstalled
	}
	if !changed {
		return false, nil
	}
	return true, b.update(ctx, func(r *waves.Record, now time.Time) {
		if r.State == waves.Done { // of other values: what was upgraded before is over
			r.Enter(waves.Rolling, "", now)
			r.Upgraded = nil
		}
		b.tally(r)
		r.Back(wave)
	})
}

// tally takes down what became of the clusters.
func (r *rollout) tally(record *waves.Record) {
	for i, e := range r.done {
		switch e.outcome {
		case protocol.OutcomeUpgraded:
			record.Note(r.clusters[i].Name, true)
		case protocol.OutcomeRolledBack:
			record.Note(r.clusters[i].Name, false)
		}
	}
}

// gate runs the checks, waits, and runs the analysis. It reports whether the rollout goes
// on: checks that failed are told by the clusters.
func (b *between) gate(ctx context.Context, start, end int, gate protocol.Gate) (bool, error) {
	if gate.Checks && !b.record.Checked {
		inside, _, err := smoke.Split(b.app, b.target)
		if err != nil {
			return false, err
		}
		b.checkEach(ctx, start, end, inside)
		if b.stopped() || ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
	if gate.Wait > 0 {
		if ok, err := b.wait(ctx, time.Duration(gate.Wait)); err != nil || !ok {
			return false, err
		}
	}
	if len(gate.Analysis) > 0 {
		if err := b.analyse(ctx, start, end, gate.Analysis); err != nil {
			return false, err
		}
	}
	return !b.stopped(), ctx.Err()
}

// wait waits until the time is over, or somebody resumes the rollout before.
func (b *between) wait(ctx context.Context, d time.Duration) (bool, error) {
	var left time.Duration
	begin := func(r *waves.Record, now time.Time) {
		r.Checked = true
		if r.Until == nil {
			r.Until = new(now.UTC().Add(d).Truncate(time.Second))
			if r.State == waves.Rolling || r.State == waves.Failed {
				r.Enter(waves.Waiting, "", now)
			}
		}
		left = r.Until.Sub(now)
	}
	told := false
	for {
		if err := b.update(ctx, begin); err != nil {
			return false, err
		}
		if ok, err := b.goesOn(ctx); err != nil || !ok {
			return false, err
		}
		switch {
		case left <= 0:
			return true, nil
		case !b.follows:
			b.held = true
			return false, nil
		case !told:
			told = true
			b.say("wait", "the rollout "+b.record.String())
		}
		if err := sleep(ctx, min(left, look)); err != nil {
			return false, err
		}
	}
}

// ends takes down how the run ended. broken is what kept the rollout from going on.
func (b *between) ends(ctx context.Context, broken error) error {
	if b == nil || b.record == nil {
		return broken
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), homeAway)
	defer cancel()
	unfinished := broken != nil && b.failures == 0
	if b.failures == 0 && b.record.State == waves.Done {
		return broken
	}
	err := b.update(ctx, func(r *waves.Record, now time.Time) {
		b.tally(r)
		switch {
		case r.State == waves.Aborted || b.held || unfinished:
		case b.failures > 0:
			r.Enter(waves.Failed, "", now)
			r.Message = fmt.Sprintf("%d of %d clusters failed", b.failures, len(b.clusters))
		case r.Done == r.Waves:
			r.Enter(waves.Done, "", now)
		}
	})
	return errors.Join(broken, err)
}
