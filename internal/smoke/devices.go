package smoke

import (
	"context"
	"errors"
	"fmt"

	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/pkg/protocol"
)

// checkDevices checks an app on devices that nothing can reach: a rollout is what
// the devices report of it, what goes to a service of theirs is skipped, and
// what goes to a URL or an address is as anywhere else.
func (c *checker) checkDevices(ctx context.Context, s scene) (protocol.SmokeReport, error) {
	app, target := s.app, s.target
	place, err := devices.Of(c.env.Topology, target, app.Name)
	if err != nil {
		return protocol.SmokeReport{}, err
	}
	report := protocol.SmokeReport{Metadata: app.Metadata, Target: target, Checks: skipped(app.Smoke), Planned: c.env.DryRun}
	s.app.Smoke, s.devices = nil, &place
	var at []int // the places in the report of the checks that are run
	for i, check := range app.Smoke {
		if why := skips(check, place); why != "" {
			report.Checks[i].Message = why
			continue
		}
		s.app.Smoke, at = append(s.app.Smoke, check), append(at, i)
	}
	probes, err := newProbes(s)
	if err != nil || c.env.DryRun {
		return report, err
	}
	ran := protocol.SmokeReport{Target: target, Checks: skipped(s.app.Smoke)}
	err = c.runAll(ctx, s, probes, &ran)
	for i, result := range ran.Checks {
		report.Checks[at[i]] = result
	}
	report.Passed = err == nil
	return report, err
}

// skips says why a check cannot be run for devices, or "".
func skips(check protocol.SmokeCheck, place devices.Place) string {
	switch {
	case !needsCluster(check), len(check.Other) > 0:
		return ""
	case place.Target.Reports.Disabled:
		return "these devices do not report"
	case check.Resource != nil, check.Logs != nil, check.Job != nil, check.HelmTest != nil:
		return "the cluster of a device cannot be asked"
	case check.Rollout == nil:
		return "a service on a device cannot be reached"
	}
	return ""
}

// reportsProbe passes when all devices report that they run what is published.
type reportsProbe struct{ place devices.Place }

func (p reportsProbe) attempt(ctx context.Context) (string, error) {
	if len(p.place.Target.Rings) > 0 {
		return p.attemptRings(ctx)
	}
	state, err := p.place.State.Get(ctx, devices.TagLatest)
	if err != nil {
		return "", &blocked{err: err}
	}
	if state.Digest == "" {
		return "", errors.New("nothing is published for " + p.place.Whose())
	}
	if state.IsTombstone() {
		return "", errors.New("the app was uninstalled from " + p.place.Whose())
	}
	reported, err := p.place.Progress(ctx, state.Digest)
	switch {
	case err != nil:
		return "", &blocked{err: err}
	case reported.Ready():
		return reported.String(), nil
	case len(reported.Devices) == 0:
		return "", fmt.Errorf("no device of %s has reported to %s", p.place.Whose(), p.place.Reports)
	}
	worst := reported.Worst(1)[0]
	text := fmt.Sprintf("%s; %s: %s", reported, worst.Device, worst.State)
	if worst.Message != "" {
		text += ", " + worst.Message
	}
	return "", errors.New(text)
}

// attemptRings passes when every ring that is open for the newest state reports what a
// further one waits for: a rollout may take days, and a check does not wait for its end.
func (p reportsProbe) attemptRings(ctx context.Context) (string, error) {
	follows, err := p.place.Follows(ctx)
	if err != nil {
		return "", &blocked{err: err}
	}
	newest := devices.Newest(follows)
	if newest.Digest == "" {
		return "", errors.New("nothing is published for " + p.place.Whose())
	}
	if newest.IsTombstone() {
		return "", errors.New("the app was uninstalled from " + p.place.Whose())
	}
	roster, err := p.place.Roster(ctx)
	if err != nil {
		return "", &blocked{err: err}
	}
	open := 0
	for i, state := range follows {
		if state.Digest != newest.Digest {
			break
		}
		reported := roster.Ring(i, newest.Digest)
		if failed := reported.Count(protocol.DeviceFailed); failed > p.place.Target.Advance().Failures(reported.Online()) {
			return "", fmt.Errorf("%s: %s", p.place.Target.RingTags()[i], reported)
		}
		if ok, text := roster.Opens(i, reported); !ok {
			return "", errors.New(text)
		}
		open++
	}
	return fmt.Sprintf("%d of %d rings are open; %s", open, len(follows), roster.All(newest.Digest)), nil
}
