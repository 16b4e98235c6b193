package fan

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/lease"
	"github.com/nationtech/harmony/internal/cluster/waves"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// gated is a fleet of three waves, with what happens after the first and the second one.
func gated(first, second protocol.Gate) protocol.MultiCluster {
	return protocol.MultiCluster{Selector: "fleet", Parallel: 2, Namespace: "fleet", Waves: []protocol.Wave{
		{UpTo: 1, Gate: first, Own: true}, {UpTo: 3, Gate: second, Own: true}, {UpTo: "100%"},
	}}
}

// trial is a fleet of five clusters that run v0.
type trial struct {
	*testing.T
	*fleet
	kubeconfig string
	multi      protocol.MultiCluster
	change     func(*capability.Environment)
}

func newTrial(t *testing.T, multi protocol.MultiCluster) *trial {
	f := newFleet()
	kubeconfig, names := kubeconfigOf(t, 5)
	for _, name := range names {
		f.runs[name] = "v0"
	}
	return &trial{T: t, fleet: f, kubeconfig: kubeconfig, multi: multi}
}

// try deploys a version, and returns the verdict.
func (t *trial) try(ctx context.Context, digest string) (protocol.DeployResult, error) {
	t.Helper()
	t.checked = nil
	result, _, err := t.deploy(ctx, t, t.kubeconfig, t.multi, digest, t.change)
	return result, err
}

// paused deploys a version, whose rollout has to end as paused, with a message of these words.
func (t *trial) paused(digest string, words ...string) {
	t.Helper()
	result, err := t.try(t.Context(), digest)
	if err != nil || result.Outcome != protocol.OutcomePaused || result.Image != "" {
		t.Fatalf("%+v, %v", result, err)
	}
	for _, word := range words {
		if !strings.Contains(result.Message, word) {
			t.Errorf("%q does not say %q", result.Message, word)
		}
	}
}

// run are the clusters that run a version.
func (t *trial) run(digest, want string) {
	t.Helper()
	var names []string
	for name, runs := range t.runs {
		if runs == digest {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if got := strings.Join(names, " "); got != want {
		t.Errorf("%s runs on %q, want %q", digest, got, want)
	}
}

// say changes the record as harmony rollout does, from another process.
func (t *trial) say(change func(r *waves.Record, now time.Time)) *waves.Record {
	t.Helper()
	record, err := t.adapter(t.T, t.kubeconfig, t.multi, false).(*fanned).Rollout(t.Context(), released, "production", func(r *waves.Record, now time.Time) error {
		change(r, now)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// stands is where the rollout is.
func (t *trial) stands(want waves.State, done int) *waves.Record {
	t.Helper()
	record := t.say(func(*waves.Record, time.Time) {})
	if record.State != want || record.Done != done {
		t.Errorf("the rollout %s: %+v, want %s after %d waves", record, record, want, done)
	}
	return record
}

func resumed(r *waves.Record, now time.Time) {
	if r.Until != nil {
		r.Until = &now
	}
	r.Enter(waves.Rolling, "", now)
}

func TestFailedCheckStopsTheNextWave(t *testing.T) {
	w := newTrial(t, gated(protocol.Gate{Checks: true}, protocol.Gate{}))
	w.fails["ready c000"] = true
	result, err := w.try(t.Context(), "v1")
	if protocol.ExitCode(err) != protocol.ExitSmoke || !strings.Contains(err.Error(), "c000: after its wave: ready failed on production") {
		t.Errorf("%v with status %d", err, protocol.ExitCode(err))
	}
	if result.Outcome != protocol.OutcomeRolledBack || *result.Clusters != (protocol.ClusterCount{Total: 5, RolledBack: 1, Skipped: 4}) {
		t.Errorf("%+v", result)
	}
	w.run("v0", "c000 c001 c002 c003 c004")
	if r := w.stands(waves.Failed, 0); len(r.Upgraded) != 0 {
		t.Errorf("upgraded: %v", r.Upgraded)
	}

	// Mended, it goes on with the checks of the wave; the check of a url is for the end.
	w.fails = map[string]bool{}
	if result, err = w.try(t.Context(), "v1"); err != nil || result.Outcome != protocol.OutcomeUpgraded || !slices.Equal(w.checked, []string{"ready c000"}) {
		t.Errorf("%+v, %v after %v", result, err, w.checked)
	}
	w.run("v1", "c000 c001 c002 c003 c004")
	w.stands(waves.Done, 3)
	// What is done is not checked again.
	if result, err = w.try(t.Context(), "v1"); err != nil || result.Outcome != protocol.OutcomeUnchanged || len(w.checked) != 0 {
		t.Errorf("%+v, %v after %v", result, err, w.checked)
	}
}

// Failed checks count as failed clusters do, and only the clusters that fail go back.
func TestFailedChecksThatMayBe(t *testing.T) {
	w := newTrial(t, gated(protocol.Gate{}, protocol.Gate{Checks: true}))
	w.multi.MaxFailures = 1
	w.fails["ready c002"] = true
	result, err := w.try(t.Context(), "v1")
	if protocol.ExitCode(err) != protocol.ExitSmoke || *result.Clusters != (protocol.ClusterCount{Total: 5, Upgraded: 4, RolledBack: 1}) {
		t.Errorf("%+v, %v", result.Clusters, err)
	}
	w.run("v0", "c002")
	w.stands(waves.Failed, 3)
}

// A target that is not to go back stays, with the wave.
func TestFailedCheckHalts(t *testing.T) {
	w := newTrial(t, gated(protocol.Gate{}, protocol.Gate{Checks: true}))
	w.change = func(env *capability.Environment) {
		target := env.Topology.Targets["production"]
		target.OnSmokeFailure = protocol.SmokeHalt
		env.Topology.Targets["production"] = target
	}
	w.fails["ready c002"] = true
	if result, err := w.try(t.Context(), "v1"); protocol.ExitCode(err) != protocol.ExitSmoke || result.Outcome != protocol.OutcomeFailed {
		t.Errorf("%+v, %v", result, err)
	}
	w.run("v1", "c000 c001 c002")
}

// Checks over a wave: those through a cluster on each, the others once, for all of it.
func TestAnalysis(t *testing.T) {
	analysis := []protocol.SmokeCheck{
		{Name: "errors", Prometheus: &protocol.PrometheusCheck{URL: "https://prometheus.example.com"}},
		{Name: "pods", Rollout: &protocol.RolloutCheck{}},
	}
	w := newTrial(t, gated(protocol.Gate{}, protocol.Gate{Analysis: analysis}))
	w.fails["errors"] = true
	result, err := w.try(t.Context(), "v1")
	if protocol.ExitCode(err) != protocol.ExitSmoke || *result.Clusters != (protocol.ClusterCount{Total: 5, Upgraded: 1, RolledBack: 2, Skipped: 2}) {
		t.Errorf("%+v, %v", result.Clusters, err)
	}
	slices.Sort(w.checked)
	if !slices.Equal(w.checked, []string{"errors", "pods c001", "pods c002"}) {
		t.Errorf("checked %v", w.checked)
	}
	w.run("v1", "c000")
}

func TestWaitEndsTheCommand(t *testing.T) {
	w := newTrial(t, gated(protocol.Gate{Checks: true, Wait: protocol.Duration(30 * time.Minute), Analysis: []protocol.SmokeCheck{{Name: "later", Rollout: &protocol.RolloutCheck{}}}}, protocol.Gate{}))
	w.paused("v1", "waits after wave 1 of 3 until 2026-11-28T12:30:00Z", "harmony rollout resume app --target production")
	w.run("v1", "c000")
	w.clock = w.clock.Add(29 * time.Minute)
	w.paused("v1", "until 2026-11-28T12:30:00Z")
	if len(w.checked) != 0 {
		t.Errorf("checked again: %v", w.checked)
	}
	w.stands(waves.Waiting, 0)
	w.clock = w.clock.Add(time.Minute)
	if result, err := w.try(t.Context(), "v1"); err != nil || result.Outcome != protocol.OutcomeUpgraded || !slices.Equal(w.checked, []string{"later c000"}) {
		t.Errorf("%+v, %v after %v", result, err, w.checked)
	}
	w.stands(waves.Done, 3)
}

func TestPauseAndResume(t *testing.T) {
	w := newTrial(t, gated(protocol.Gate{Pause: true}, protocol.Gate{Wait: protocol.Duration(time.Hour)}))
	w.paused("v1", "paused after wave 1 of 3 by the topology")
	w.paused("v1", "after wave 1 of 3")

	// Another release is refused until this one is over.
	if _, err := w.try(t.Context(), "v2"); protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(protocol.HintOf(err), "harmony rollout abort app --target production") {
		t.Errorf("another release: %v", err)
	}
	w.run("v1", "c000")
	w.say(resumed)
	w.paused("v1", "waits after wave 2 of 3 until")
	w.run("v1", "c000 c001 c002")
	w.say(resumed) // ends the wait
	if _, err := w.try(t.Context(), "v1"); err != nil {
		t.Error(err)
	}
	w.stands(waves.Done, 3)
}

// A command that follows goes on when another one lets it.
func TestFollow(t *testing.T) {
	w := newTrial(t, gated(protocol.Gate{Pause: true}, protocol.Gate{}))
	w.follow = true
	said := make(chan struct{})
	go func() {
		defer close(said)
		for {
			r, err := waves.Store{ConfigMaps: w.first.CoreV1().ConfigMaps("fleet"), App: "app", Target: "production"}.Read(context.Background())
			if err == nil && r != nil && r.State == waves.Paused {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		_, _ = waves.Store{ConfigMaps: w.first.CoreV1().ConfigMaps("fleet"), App: "app", Target: "production"}.Change(context.Background(), func(r *waves.Record) (*waves.Record, error) {
			resumed(r, time.Now())
			return r, nil
		})
	}()
	if result, err := w.try(t.Context(), "v1"); err != nil || result.Outcome != protocol.OutcomeUpgraded {
		t.Errorf("%+v, %v", result, err)
	}
	select {
	case <-said:
	case <-time.After(10 * time.Second):
		t.Error("it did not pause")
	}
}

// oneByOne has no two clusters delivered to at once, so that a moment can be chosen.
func oneByOne(multi protocol.MultiCluster) protocol.MultiCluster {
	multi.Parallel = 1
	return multi
}

// Somebody pauses or aborts a rollout that is in a wave: the next one does not begin.
func TestSaidMeanwhile(t *testing.T) {
	for _, state := range []waves.State{waves.Paused, waves.Aborted} {
		w := newTrial(t, oneByOne(gated(protocol.Gate{}, protocol.Gate{})))
		w.halt = func(done int) {
			if done == 2 { // in the second wave
				w.halt = nil
				w.say(func(r *waves.Record, now time.Time) { r.Enter(state, "ann@desk", now) })
			}
		}
		result, err := w.try(t.Context(), "v1")
		w.run("v1", "c000 c001 c002")
		record := w.stands(state, 2)
		if slices.Sort(record.Upgraded); !slices.Equal(record.Upgraded, []string{"c000", "c001", "c002"}) {
			t.Errorf("upgraded: %v", record.Upgraded)
		}
		if state == waves.Paused {
			if err != nil || result.Outcome != protocol.OutcomePaused || !strings.Contains(result.Message, "by ann@desk") {
				t.Errorf("%+v, %v", result, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "aborted after wave 2 of 3 by ann@desk") || result.Outcome != protocol.OutcomeFailed {
			t.Errorf("%+v, %v", result, err)
		}
		if _, err := w.try(t.Context(), "v1"); protocol.ExitCode(err) != protocol.ExitUnsupported {
			t.Errorf("again: %v", err)
		}
		back, err := w.adapter(t, w.kubeconfig, w.multi, false).(*fanned).TakeRolloutBack(t.Context(), released, "production", func(protocol.DeployResult) {})
		if err != nil || back.Clusters.RolledBack != 3 {
			t.Errorf("take back: %+v, %v", back, err)
		}
		w.run("v0", "c000 c001 c002 c003 c004")
		if record := w.stands(waves.Aborted, 2); len(record.Upgraded) != 0 {
			t.Errorf("upgraded: %v", record.Upgraded)
		}
		if _, err := w.try(t.Context(), "v2"); err != nil { // another release begins anew
			t.Error(err)
		}
	}
}

// What was interrupted in a wave goes on, with the checks after it, and what an earlier run
// has upgraded goes back too.
func TestInterruptedBeforeTheChecks(t *testing.T) {
	w := newTrial(t, oneByOne(gated(protocol.Gate{}, protocol.Gate{Checks: true})))
	ctx, cancel := context.WithCancel(t.Context())
	w.halt = func(done int) {
		if done == 3 {
			cancel()
		}
	}
	if _, err := w.try(ctx, "v1"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.halt = nil
	w.stands(waves.Rolling, 1)
	w.fails["ready c002"] = true
	result, err := w.try(t.Context(), "v1")
	if protocol.ExitCode(err) != protocol.ExitSmoke || result.Clusters.Skipped != 2 || len(w.checked) != 2 {
		t.Errorf("%+v, %v after %v", result, err, w.checked)
	}
	w.run("v1", "c000")
}

// A dry run, and one that is limited to a cluster, wait for nothing and remember nothing.
func TestWithoutWaves(t *testing.T) {
	w := newTrial(t, gated(protocol.Gate{Pause: true}, protocol.Gate{}))
	w.change = func(env *capability.Environment) { env.DryRun = true }
	if result, err := w.try(t.Context(), "v1"); err != nil || result.Outcome != protocol.OutcomeUpgraded || !result.Planned {
		t.Errorf("%+v, %v", result, err)
	}
	multi := w.multi
	d, err := w.limited(conn.Flags{Kubeconfig: w.kubeconfig, Context: "c004"})(t.Context(), capability.Environment{
		Topology: protocol.Topology{Targets: map[string]protocol.Target{"production": {MultiCluster: &multi}}},
		Provider: protocol.Provider{Adapter: "standin"}, Progress: w.observe,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Deploy(t.Context(), released, "production", protocol.ImageRef{Digest: "v1"}, protocol.ChartRef{Digest: "c"}); err != nil {
		t.Error(err)
	}
	w.run("v1", "c004")
	if maps, err := w.first.CoreV1().ConfigMaps("fleet").List(t.Context(), metav1.ListOptions{}); err != nil || len(maps.Items) != 0 {
		t.Errorf("remembered: %+v, %v", maps, err)
	}
}

// One process at a time works on the target; what is no deploy ends the rollout.
func TestLeaseOverTheTarget(t *testing.T) {
	w := newTrial(t, gated(protocol.Gate{Pause: true}, protocol.Gate{}))
	w.paused("v1")
	leases := w.first.CoordinationV1().Leases("fleet")
	l, err := lease.Acquire(t.Context(), leases, waves.Name("app", "production"), func(string, time.Time) {})
	if err != nil {
		t.Fatal(err)
	}
	held, giveBack := l.Hold(t.Context())
	ctx, cancel := context.WithTimeout(held, 200*time.Millisecond)
	defer cancel()
	w.order = nil
	if _, err := w.adapter(t, w.kubeconfig, w.multi, false).Rollback(ctx, released, "production", ""); err == nil || len(w.order) != 0 {
		t.Errorf("it did not wait: %v, %v", err, w.order)
	}
	giveBack()
	w.before["c000"] = "v0"
	if _, err := w.adapter(t, w.kubeconfig, w.multi, false).Remove(t.Context(), released, "production"); err != nil {
		t.Error(err)
	}
	if list, err := leases.List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 0 {
		t.Errorf("leases left: %+v, %v", list, err)
	}
	if list, err := w.first.CoreV1().ConfigMaps("fleet").List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 0 {
		t.Errorf("records left: %+v, %v", list, err)
	}
}

// A newer version anywhere refuses the whole deploy, before the first cluster.
func TestNoDowngradeOverTheTarget(t *testing.T) {
	w := newTrial(t, gated(protocol.Gate{}, protocol.Gate{}))
	w.versions = map[string]string{"c004": "1.1.0"}
	w.change = func(env *capability.Environment) {
		target := env.Topology.Targets["production"]
		target.NoDowngrade = new(true)
		env.Topology.Targets["production"] = target
	}
	_, err := w.try(t.Context(), "v1")
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "cluster c004: production has app 1.1.0, which is newer than 1.0.0") {
		t.Error(err)
	}
	w.run("v1", "")
}

// An ApplicationSet goes from wave to wave by itself.
func TestNothingBetweenWavesOfAController(t *testing.T) {
	w := newTrial(t, gated(protocol.Gate{Checks: true}, protocol.Gate{}))
	w.bySet = true
	if _, err := w.try(t.Context(), "v1"); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "ApplicationSet") {
		t.Error(err)
	}
	if _, err := w.adapter(t, w.kubeconfig, w.multi, false).(*fanned).Rollout(t.Context(), released, "production", nil); protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Error(err)
	}
}

// The namespace is made for the lease, with the marks by which Helm takes it for its own
// where the chart has it too.
func TestNamespaceOfTheFirstCluster(t *testing.T) {
	w := newTrial(t, gated(protocol.Gate{}, protocol.Gate{}))
	namespaces := w.first.CoreV1().Namespaces()
	if err := namespaces.Delete(t.Context(), "fleet", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.adapter(t, w.kubeconfig, w.multi, false).Remove(t.Context(), released, "production"); err != nil {
		t.Error(err)
	}
	if _, err := w.try(t.Context(), "v1"); err != nil {
		t.Fatal(err)
	}
	var found *corev1.Namespace
	found, err := namespaces.Get(t.Context(), "fleet", metav1.GetOptions{})
	if err != nil || found.Annotations["meta.helm.sh/release-name"] != "app" {
		t.Errorf("%+v, %v", found, err)
	}
}

func (s *standIn) Status(_ context.Context, app protocol.AppSpec, target string) ([]status.Entry, error) {
	s.fleet.mu.Lock()
	defer s.fleet.mu.Unlock()
	return []status.Entry{{App: app.Name, Target: target, Version: s.fleet.versions[s.env.Cluster]}}, nil
}

var _ delivery.Adapter = (*standIn)(nil)
