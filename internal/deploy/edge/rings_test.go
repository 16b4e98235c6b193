package edge

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/nationtech/harmony/internal/cluster/devices"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// ringed makes the world's group one of three rings, and returns so many devices of each.
func (w *world) ringed(each int) (rings [3][]string) {
	w.edge.Rings = []protocol.DeviceRing{{Share: 10}, {Share: 50}, {Share: 100}}
	w.edge.Reports.OfflineAfter = protocol.Duration(1_000_000 * time.Hour) // their clock stands still
	for i := 0; len(rings[0]) < each || len(rings[1]) < each || len(rings[2]) < each; i++ {
		name := fmt.Sprintf("shop-%d", i)
		if ring := w.edge.RingOf(name, nil); len(rings[ring]) < each {
			rings[ring] = append(rings[ring], name)
		}
	}
	return rings
}

// follows are the digests under the tags of the rings.
func (w *world) follows() []string {
	w.t.Helper()
	place, err := devices.Of(w.topology, target, w.app.Name)
	if err != nil {
		w.t.Fatal(err)
	}
	states, err := place.Follows(context.WithoutCancel(w.t.Context()))
	if err != nil {
		w.t.Fatal(err)
	}
	var digests []string
	for _, state := range states {
		digests = append(digests, state.Digest)
	}
	return digests
}

// report has all of the devices report.
func (w *world) reportAll(names []string, state, digest string) {
	w.t.Helper()
	for _, name := range names {
		w.report(name, state, digest, "")
	}
}

// everywhere brings the app to all rings.
func (w *world) everywhere(rings [3][]string) protocol.DeployResult {
	w.t.Helper()
	w.reportAll(slices.Concat(rings[:]...), "ready", "sha256:"+strings.Repeat("0", 64))
	var result protocol.DeployResult
	for _, ring := range rings {
		result = w.deploy(protocol.OutcomePublished)
		w.reportAll(ring, "ready", result.Published.Digest)
	}
	return w.deploy(protocol.OutcomeUnchanged)
}

// A ring is opened when the one before has reported to be healthy, by whichever run comes
// next.
func TestRingByRing(t *testing.T) {
	w := newWorld(t)
	rings := w.ringed(2)
	first := w.deploy(protocol.OutcomePublished)
	digest := first.Published.Digest
	if p := first.Published; !strings.HasPrefix(p.Waits, "no device of group shops has reported") || len(p.Rings) != 3 || !p.Rings[0].Open || p.Rings[1].Open {
		t.Errorf("no device is known: %+v", p)
	}
	w.reportAll(slices.Concat(rings[:]...), "ready", "sha256:"+strings.Repeat("0", 64))
	for ring, names := range rings {
		result := w.deploy(protocol.OutcomePublished)
		want := []string{"", "", ""}
		for i := range ring + 1 {
			want[i] = digest
		}
		if got := w.follows(); !slices.Equal(got, want) || result.Image != "" {
			t.Errorf("ring %d: the rings follow %q, want %q; result %+v", ring, got, want, result)
		}
		if ring < 2 && !strings.Contains(result.Published.Waits, fmt.Sprintf("ring-%d waits: 0 of 2 devices are ready, 2 behind; 2 must be ready", ring+1)) {
			t.Errorf("ring %d: waits %q", ring, result.Published.Waits)
		}
		w.report(names[0], "ready", w.tagOf(ring)+"@"+digest, "")
		w.report(names[1], "ready", digest, "")
	}
	if result := w.deploy(protocol.OutcomeUnchanged); result.Image != imageOne || result.Published.Ready != 6 || result.Published.Waits != "" {
		t.Errorf("everywhere: %+v", result.Published)
	}
	// The next version begins at the first ring again, and the others stay.
	w.next("1.1.0", imageTwo)
	second := w.deploy(protocol.OutcomePublished)
	if got := w.follows(); got[0] != second.Published.Digest || got[1] != digest || got[2] != digest {
		t.Errorf("the rings follow %q", got)
	}
	entries, err := w.adapter().Status(t.Context(), w.app, target)
	if err != nil || len(entries) != 5 || entries[0].Version != "1.1.0" || entries[0].Device != "group shops ring-1" || entries[3].Version != "1.0.0" || !entries[3].Healthy {
		t.Errorf("status %+v, %v", entries, err)
	}
}

func (w *world) tagOf(ring int) string { return w.edge.RingTags()[ring] }

// Devices that are offline are not waited for, and get the version when they are back.
func TestOfflineDevices(t *testing.T) {
	w := newWorld(t)
	rings := w.ringed(3)
	w.edge.AdvanceWhen = &protocol.AdvanceWhen{Healthy: "50%"}
	w.everywhere(rings)
	w.edge.Reports.OfflineAfter = protocol.Duration(time.Hour) // all have reported long ago
	w.next("1.1.0", imageTwo)
	result := w.deploy(protocol.OutcomePublished)
	if want := "ring-1 waits: all of its 3 devices are offline"; result.Published.Waits != want || result.Published.Rings[0].Offline != 3 {
		t.Errorf("waits %q, want %q; %+v", result.Published.Waits, want, result.Published.Rings)
	}
	w.report(rings[0][0], "ready", result.Published.Digest, "")
	w.report(rings[0][1], "progressing", result.Published.Digest, "")
	if got := w.deploy(protocol.OutcomePublished).Published; !got.Rings[1].Open || got.Rings[2].Open || got.Rings[0].Offline != 1 {
		t.Errorf("one of two that are online is ready: %+v", got)
	}
	w.report(rings[0][2], "failed", result.Published.Digest, "disk full") // which was offline
	if _, err := w.try(); protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("one that came back and failed: %v", err)
	}
}

// Failed devices take all rings back, and the state is not tried again.
func TestFailedRing(t *testing.T) {
	w := newWorld(t)
	rings := w.ringed(3)
	w.edge.AdvanceWhen = &protocol.AdvanceWhen{Healthy: "60%", MaxFailed: 1}
	good := w.everywhere(rings).Published.Digest
	w.next("1.1.0", imageTwo)
	bad := w.deploy(protocol.OutcomePublished).Published.Digest
	w.reportAll(rings[0][:2], "ready", bad)
	w.report(rings[0][2], "failed", bad, "no camera")
	if p := w.deploy(protocol.OutcomePublished).Published; !p.Rings[1].Open || p.Rings[0].Failed != 1 {
		t.Errorf("one may fail: %+v", p)
	}
	w.report(rings[1][0], "failed", bad, "no camera either")
	_, err := w.try()
	for _, words := range []string{"2 of the 4 devices that ran it failed, and at most 1 may; the group has 9", "all rings follow 1.0.0 again, " + good, rings[0][2] + ": no camera"} {
		if protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(err.Error(), words) {
			t.Errorf("status %d, want %q in: %v", protocol.ExitCode(err), words, err)
		}
	}
	back := []string{good, good, good}
	if got := w.follows(); !slices.Equal(got, back) {
		t.Errorf("the rings follow %q", got)
	}
	w.reportAll(slices.Concat(rings[:]...), "ready", good)
	if _, err := w.try(); protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(protocol.HintOf(err), "remove the tag rollout") {
		t.Errorf("again: %v", err)
	}
	entries, err := w.adapter().Status(t.Context(), w.app, target)
	if err != nil || !strings.Contains(entries[0].Message, "the last rollout was given up: 2 of the 4") {
		t.Errorf("status %+v, %v", entries, err)
	}
	// A run that was killed as it took the rings back is ended by the next, of any version.
	place, _ := devices.Of(w.topology, target, w.app.Name)
	state, err := place.State.Get(t.Context(), bad)
	if err == nil {
		err = place.State.Tag(t.Context(), "ring-2", state)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.try(); protocol.ExitCode(err) != protocol.ExitSmoke || !slices.Equal(w.follows(), back) {
		t.Errorf("killed: %v; the rings follow %q", err, w.follows())
	}
	if err := place.State.Tag(t.Context(), "ring-2", state); err != nil {
		t.Fatal(err)
	}
	w.next("1.2.0", imageTwo)
	if next := w.deploy(protocol.OutcomePublished).Published.Digest; !slices.Equal(w.follows(), []string{next, good, good}) {
		t.Errorf("the next version: the rings follow %q", w.follows())
	}
}

// Without a state to go back to, the rings that are not open stay closed.
func TestFailedFirstRing(t *testing.T) {
	w := newWorld(t)
	rings := w.ringed(1)
	digest := w.deploy(protocol.OutcomePublished).Published.Digest
	w.report(rings[0][0], "failed", digest, "")
	if _, err := w.try(); protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(err.Error(), "no state was published before") {
		t.Errorf("%v", err)
	}
	if got := w.follows(); !slices.Equal(got, []string{digest, "", ""}) {
		t.Errorf("the rings follow %q", got)
	}
	if _, err := w.adapter().Rollback(t.Context(), w.app, target, ""); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("rollback: %v", err)
	}
	result, err := w.adapter().Remove(t.Context(), w.app, target)
	if err != nil || result.Published == nil || !slices.Equal(w.follows(), []string{result.Published.Digest, result.Published.Digest, result.Published.Digest}) {
		t.Errorf("uninstall: %+v, %v; the rings follow %q", result, err, w.follows())
	}
}

// A rollback ends a rollout that is on its way, and the deploy that waits for it.
func TestRollbackEndsARollout(t *testing.T) {
	w := newWorld(t)
	rings := w.ringed(1)
	first := w.everywhere(rings)
	good := first.Published.Digest
	w.next("1.1.0", imageTwo)
	bad := w.deploy(protocol.OutcomePublished)
	w.reportAll(rings[0], "ready", bad.Published.Digest)
	w.edge.Reports.Await = protocol.Duration(time.Minute)
	waiting := make(chan error, 1)
	go func() {
		_, err := w.try()
		waiting <- err
	}()
	for end := time.Now().Add(30 * time.Second); w.follows()[1] != bad.Published.Digest; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the second ring was not opened")
		}
	}
	other := *w
	topology := w.topology
	edge := *w.edge
	edge.Reports = &protocol.DeviceReports{OfflineAfter: w.edge.Reports.OfflineAfter}
	topology.Targets = map[string]protocol.Target{target: {EdgeDevice: &edge}}
	other.topology = topology
	if _, err := other.adapter().TakeBack(t.Context(), w.app, target, capability.Setback{Deployed: first}, nil); protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Errorf("another deploy is taken back: %v", err)
	}
	result, err := other.adapter().TakeBack(t.Context(), w.app, target, capability.Setback{Deployed: bad}, nil)
	if err != nil || result.RunningVersion != "1.0.0" || !slices.Equal(w.follows(), []string{good, good, good}) {
		t.Errorf("taken back to %+v, %v; the rings follow %q", result, err, w.follows())
	}
	if err := <-waiting; protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(err.Error(), "it was rolled back") {
		t.Errorf("the deploy that waits: %v", err)
	}
	// When a rollout is over, a rollback returns to the state before it, on all rings.
	w.next("1.2.0", imageTwo)
	w.edge.Reports.Await = 0
	w.everywhere(rings)
	if _, err := other.adapter().Rollback(t.Context(), w.app, target, ""); err != nil || !slices.Equal(w.follows(), []string{good, good, good}) {
		t.Errorf("%v; the rings follow %q", err, w.follows())
	}
}

// A ring must be healthy for a time, over which runs may come and go.
func TestHealthyFor(t *testing.T) {
	w := newWorld(t)
	rings := w.ringed(1)
	w.edge.AdvanceWhen = &protocol.AdvanceWhen{For: protocol.Duration(2 * time.Second)}
	digest := w.deploy(protocol.OutcomePublished).Published.Digest
	w.reportAll(rings[0], "ready", digest)
	start := time.Now()
	if p := w.deploy(protocol.OutcomePublished).Published; p.Rings[1].Open || !strings.Contains(p.Waits, "it must stay so until") {
		t.Errorf("at once: %+v", p)
	}
	w.reportAll(rings[0], "progressing", digest)
	w.deploy(protocol.OutcomePublished)
	w.reportAll(rings[0], "ready", digest)
	w.deploy(protocol.OutcomePublished)
	again := time.Now()
	for !w.deploy(protocol.OutcomePublished).Published.Rings[1].Open {
		time.Sleep(100 * time.Millisecond)
		if time.Since(start) > time.Minute {
			t.Fatal("ring-2 is not opened")
		}
	}
	if time.Since(again) < time.Second {
		t.Errorf("ring-2 was opened %s after ring-1 was healthy again", time.Since(again))
	}
}

// A ring by labels, a device that follows another tag than its name gives it, and a tag of
// a ring that is gone.
func TestRingsByLabels(t *testing.T) {
	w := newWorld(t)
	rings := w.ringed(1)
	good := w.everywhere(rings).Published.Digest
	w.edge.Rings = []protocol.DeviceRing{{Labels: map[string]string{"tier": "canary"}}, {Share: 100}}
	w.reportWith(rings[2][0], good, map[string]string{"harmony.nationtech.io/labels": "region=eu,tier=canary"})
	w.report(rings[1][0], "ready", "ring-1@"+good, "")
	w.next("1.1.0", imageTwo)
	p := w.deploy(protocol.OutcomePublished).Published
	if p.Rings[0].Total != 2 || p.Rings[1].Total != 1 {
		t.Errorf("rings %+v", p.Rings)
	}
	w.reportAll([]string{rings[1][0], rings[2][0]}, "ready", "ring-1@"+p.Digest)
	w.deploy(protocol.OutcomePublished)
	if digest, err := w.pull("ring-2").Digest(); err != nil || digest.String() != p.Digest {
		t.Errorf("the tag of a ring that is gone is left at %s, %v", digest, err)
	}
}

// ending is a registry that ends a run when it has answered so many requests.
type ending struct {
	http.Handler
	mu   sync.Mutex
	left int
	end  func()
}

func (e *ending) after(requests int, end func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left, e.end = requests, end
}

func (e *ending) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.Handler.ServeHTTP(w, r)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.left--; e.left == 0 {
		e.end()
	}
}

// Runs that end anywhere, one after the other, come to the same as one that does not.
func TestInterruptedRollouts(t *testing.T) {
	w := newWorld(t)
	ends := &ending{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	w.serve(ends)
	rings := w.ringed(1)
	good := w.everywhere(rings).Published.Digest
	until := func(version, image, state string, end int) string {
		t.Helper()
		w.next(version, image)
		w.dryRun = true
		digest := w.deploy(protocol.OutcomePublished).Published.Digest
		w.dryRun = false
		w.reportAll(slices.Concat(rings[:]...), state, digest)
		for n := 1; n < 1000; n++ {
			ctx, cancel := context.WithCancel(t.Context())
			ends.after(n, cancel)
			_, err := w.adapter().Deploy(ctx, w.app, target, w.image, w.chart())
			interrupted := ctx.Err() != nil
			if cancel(); !interrupted && protocol.ExitCode(err) == end {
				return digest
			}
			if !interrupted {
				t.Fatalf("after %d runs: status %d, %v", n, protocol.ExitCode(err), err)
			}
		}
		t.Fatal("it does not come to an end")
		return ""
	}
	until("1.1.0", imageTwo, "failed", protocol.ExitSmoke)
	if got := w.follows(); !slices.Equal(got, []string{good, good, good}) {
		t.Errorf("the rings follow %q", got)
	}
	better := until("1.2.0", imageTwo, "ready", protocol.ExitOK)
	if got := w.follows(); !slices.Equal(got, []string{better, better, better}) {
		t.Errorf("the rings follow %q", got)
	}
	place, err := devices.Of(w.topology, target, w.app.Name)
	if err != nil {
		t.Fatal(err)
	}
	if record, err := place.Rollout(t.Context()); err != nil || !record.Is(devices.Done, better) || record.Before != good {
		t.Errorf("record %+v, %v", record, err)
	}
}
