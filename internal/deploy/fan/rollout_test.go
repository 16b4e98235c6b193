package fan

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestWavesInOrder(t *testing.T) {
	f := newFleet()
	f.takes = 2 * time.Millisecond
	kubeconfig, names := kubeconfigOf(t, 25)
	multi := protocol.MultiCluster{Selector: "fleet=shops", Waves: protocol.Waves(1, "10%", "100%"), Parallel: 4}
	result, each, err := f.deploy(t.Context(), t, kubeconfig, multi, "v1", nil)
	if err != nil || result.Outcome != protocol.OutcomeInstalled || result.Image != "v1" || result.Chart != "chart-v1" || result.Cluster != "" {
		t.Fatalf("verdict %+v, %v", result, err)
	}
	if want := (protocol.ClusterCount{Total: 25, Installed: 25}); *result.Clusters != want || len(each) != 25 {
		t.Errorf("counts %+v of %d results", *result.Clusters, len(each))
	}
	if f.order[0] != "c000" || !slices.Equal(slices.Sorted(slices.Values(f.order[1:3])), []string{"c001", "c002"}) {
		t.Errorf("order %v: a wave began before the one before was over", f.order)
	}
	if f.most > 4 {
		t.Errorf("%d clusters at once, want at most 4", f.most)
	}
	if f.waves[0] != "wave 1 of 3, 0/25" || f.waves[len(f.waves)-1] != "wave 3 of 3, 25/25" {
		t.Errorf("progress %q", f.waves)
	}
	if len(f.events) < 2 || !strings.HasPrefix(f.events[1], "c000: ") {
		t.Errorf("events of clusters %q", f.events)
	}
	for _, name := range names {
		if r := each[name]; r.Outcome != protocol.OutcomeInstalled || r.Target != "production" || r.Context != name || r.Version != "1.0.0" {
			t.Errorf("%s: %+v", name, r)
		}
	}
	result, each, err = f.deploy(t.Context(), t, kubeconfig, multi, "v1", nil)
	if err != nil || result.Outcome != protocol.OutcomeUnchanged || len(each) != 25 {
		t.Errorf("again: %+v, %v", result, err)
	}
}

func TestFailureStopsAndRollsTheWaveBack(t *testing.T) {
	f := newFleet()
	kubeconfig, names := kubeconfigOf(t, 10)
	for _, name := range names[:9] {
		f.runs[name] = "v1"
	}
	f.bad["c003"] = protocol.ExitRetryable
	multi := protocol.MultiCluster{Selector: "fleet", Waves: protocol.Waves(1, "50%", "100%"), Parallel: 1}
	result, each, err := f.deploy(t.Context(), t, kubeconfig, multi, "v2", nil)
	if protocol.ExitCode(err) != protocol.ExitRetryable || protocol.HintOf(err) != "look at the pods" {
		t.Fatalf("%v, status %d", err, protocol.ExitCode(err))
	}
	for _, words := range []string{"1 of 10 clusters", "wave 2 of 3", "c003: the pods crash\n    on every node", "rolled back: 3", "skipped: 6"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%q does not say %q", err, words)
		}
	}
	if result.Outcome != protocol.OutcomeRolledBack || result.Image != "" {
		t.Errorf("verdict %+v", result)
	}
	// The first wave was good and stays.
	if each.of(protocol.OutcomeUpgraded) != "c000" || each.of(protocol.OutcomeRolledBack) != "c001 c002 c003" || len(each) != 10 {
		t.Errorf("results %+v", each)
	}
	if f.runs["c000"] != "v2" || f.runs["c001"] != "v1" || f.runs["c002"] != "v1" || f.runs["c004"] != "v1" || slices.Contains(f.order, "c005") {
		t.Errorf("runs %v after %v", f.runs, f.order)
	}
	if m := each["c002"].Message; m != "its wave was given up" {
		t.Errorf("message %q", m)
	}

	// Mended, the same command goes on.
	delete(f.bad, "c003")
	result, each, err = f.deploy(t.Context(), t, kubeconfig, multi, "v2", nil)
	if err != nil || *result.Clusters != (protocol.ClusterCount{Total: 10, Installed: 1, Upgraded: 8, Unchanged: 1}) {
		t.Errorf("again: %+v, %v", result.Clusters, err)
	}
	if each["c000"].Outcome != protocol.OutcomeUnchanged || f.order[0] != "c000" || f.order[1] != "c001" {
		t.Errorf("order %v", f.order)
	}
}

func TestFailuresThatMayBe(t *testing.T) {
	f := newFleet()
	kubeconfig, _ := kubeconfigOf(t, 10)
	f.bad["c002"], f.bad["c007"] = protocol.ExitFailed, protocol.ExitRetryable
	multi := protocol.MultiCluster{Selector: "fleet", MaxFailures: "25%"}
	result, each, err := f.deploy(t.Context(), t, kubeconfig, multi, "v1", nil)
	if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), "2 of 10 clusters") {
		t.Errorf("%v", err)
	}
	if result.Outcome != protocol.OutcomeFailed || *result.Clusters != (protocol.ClusterCount{Total: 10, Installed: 8, Failed: 2}) {
		t.Errorf("verdict %+v %+v", result, result.Clusters)
	}
	if each.of(protocol.OutcomeFailed) != "c002 c007" || each["c002"].Message != "the pods crash" || len(f.rolledBack) != 0 {
		t.Errorf("failed %s, rolled back %v", each.of(protocol.OutcomeFailed), f.rolledBack)
	}
}

// Status 2 says that nothing was started, which is not so once a cluster has
// changed.
func TestStatusOfARefusalInALaterWave(t *testing.T) {
	for bad, want := range map[string]int{"c000": protocol.ExitInvalid, "c002": protocol.ExitFailed} {
		f := newFleet()
		kubeconfig, _ := kubeconfigOf(t, 3)
		f.bad[bad] = protocol.ExitInvalid
		_, _, err := f.deploy(t.Context(), t, kubeconfig, protocol.MultiCluster{Selector: "fleet", Parallel: 1}, "v2", nil)
		if code := protocol.ExitCode(err); code != want {
			t.Errorf("%s is refused: status %d, want %d: %v", bad, code, want, err)
		}
	}
}

func TestNoRollbackWhereTheTopologyWantsNone(t *testing.T) {
	f := newFleet()
	kubeconfig, _ := kubeconfigOf(t, 3)
	f.runs["c000"], f.runs["c001"] = "v1", "v1"
	f.bad["c002"] = protocol.ExitFailed
	multi := protocol.MultiCluster{Selector: "fleet", Waves: protocol.Waves("100%"), Parallel: 1}
	result, each, err := f.deploy(t.Context(), t, kubeconfig, multi, "v2", func(env *capability.Environment) {
		env.Provider.Settings = map[string]any{"rollback": false}
	})
	if err == nil || result.Outcome != protocol.OutcomeFailed || each.of(protocol.OutcomeUpgraded) != "c000 c001" || f.runs["c000"] != "v2" {
		t.Errorf("%v: %+v", err, each)
	}
	if code := protocol.ExitCode(err); code != protocol.ExitFailed {
		t.Errorf("status %d", code)
	}
}

func TestInterrupted(t *testing.T) {
	f := newFleet()
	kubeconfig, _ := kubeconfigOf(t, 6)
	ctx, cancel := context.WithCancel(t.Context())
	f.halt = func(done int) {
		if done == 2 {
			cancel()
		}
	}
	multi := protocol.MultiCluster{Selector: "fleet", Parallel: 1}
	result, each, err := f.deploy(ctx, t, kubeconfig, multi, "v1", nil)
	if protocol.ExitCode(err) != protocol.ExitInterrupted || result.Outcome != protocol.OutcomeFailed {
		t.Errorf("verdict %+v, %v", result, err)
	}
	if each.of(protocol.OutcomeInstalled) != "c000 c001" || each.of(protocol.OutcomeSkipped) != "c002 c003 c004 c005" {
		t.Errorf("results %+v", each)
	}
	f.halt = nil
	result, _, err = f.deploy(t.Context(), t, kubeconfig, multi, "v1", nil)
	if err != nil || *result.Clusters != (protocol.ClusterCount{Total: 6, Installed: 4, Unchanged: 2}) {
		t.Errorf("again: %+v, %v", result.Clusters, err)
	}
}

func TestDryRunTellsEveryCluster(t *testing.T) {
	f := newFleet()
	kubeconfig, _ := kubeconfigOf(t, 4)
	f.runs["c001"], f.bad["c000"] = "v1", protocol.ExitFailed
	result, each, err := f.deploy(t.Context(), t, kubeconfig, protocol.MultiCluster{Selector: "fleet"}, "v2", func(env *capability.Environment) { env.DryRun = true })
	if err == nil || !result.Planned || *result.Clusters != (protocol.ClusterCount{Total: 4, Installed: 2, Upgraded: 1, Failed: 1}) {
		t.Errorf("verdict %+v %+v, %v", result, result.Clusters, err)
	}
	if !each["c003"].Planned || f.runs["c001"] != "v1" {
		t.Errorf("a dry run changed something: %v", f.runs)
	}
}

func TestRollbackOfTheTarget(t *testing.T) {
	f := newFleet()
	kubeconfig, names := kubeconfigOf(t, 3)
	multi := protocol.MultiCluster{Selector: "fleet", Namespace: "fleet"}
	for _, digest := range []string{"v1", "v2"} {
		if _, _, err := f.deploy(t.Context(), t, kubeconfig, multi, digest, nil); err != nil {
			t.Fatal(err)
		}
	}
	result, err := f.adapter(t, kubeconfig, multi, false).Rollback(t.Context(), released, "production", "")
	if err != nil || result.Outcome != protocol.OutcomeRolledBack || result.Clusters.RolledBack != 3 {
		t.Errorf("%+v, %v", result, err)
	}
	for _, name := range names {
		if f.runs[name] != "v1" {
			t.Errorf("%s runs %s", name, f.runs[name])
		}
	}
}

// BenchmarkFleet is the orchestrator over stand-ins for clusters, each of which
// takes a hundredth of a second: its time and its memory have to grow as the
// clusters do, and no faster. OVER is the time beyond what the clusters take, 8
// at once, by waves of 1, 10% and 100%.
func BenchmarkFleet(b *testing.B) {
	const takes = 10 * time.Millisecond
	for _, clusters := range []int{10, 50, 100, 250, 500} {
		b.Run(fmt.Sprint(clusters), func(b *testing.B) {
			kubeconfig, _ := kubeconfigOf(b, clusters)
			var memory runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&memory)
			before, peak := memory.HeapAlloc, uint64(0)
			for b.Loop() {
				f := newFleet()
				f.takes = takes
				f.halt = func(done int) {
					f.mu.Lock()
					defer f.mu.Unlock()
					if done%10 == 0 {
						runtime.ReadMemStats(&memory)
						peak = max(peak, memory.HeapAlloc)
					}
				}
				result, _, err := f.deploy(b.Context(), b, kubeconfig, protocol.MultiCluster{Selector: "fleet"}, "v1", nil)
				if err != nil || result.Clusters.Installed != clusters {
					b.Fatalf("%+v, %v", result.Clusters, err)
				}
			}
			rounds, last := 0, 0
			multi := protocol.MultiCluster{}
			for _, end := range multi.Ends(clusters) {
				rounds, last = rounds+(end-last+multi.AtOnce()-1)/multi.AtOnce(), end
			}
			each := b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64((each-time.Duration(rounds)*takes).Microseconds())/float64(clusters), "µs-over/cluster")
			b.ReportMetric(float64(peak-before)/(1<<20), "MiB-peak")
		})
	}
}

// adapter is that of the target production.
func (f *fleet) adapter(t *testing.T, kubeconfig string, multi protocol.MultiCluster, dryRun bool) delivery.Adapter {
	t.Helper()
	f.order = nil
	env := capability.Environment{
		Topology: protocol.Topology{Metadata: protocol.Metadata{Name: "ci"}, Targets: map[string]protocol.Target{"production": {MultiCluster: &multi}}},
		Provider: protocol.Provider{Adapter: "standin"}, Progress: f.observe, DryRun: dryRun,
	}
	d, err := f.adapters(kubeconfig)(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	return d.(delivery.Adapter)
}

// remove takes the app off the fleet.
func (f *fleet) remove(t *testing.T, kubeconfig string, multi protocol.MultiCluster) (protocol.DeployResult, error) {
	t.Helper()
	return f.adapter(t, kubeconfig, multi, false).Remove(t.Context(), released, "production")
}

// released is the app of the fleet.
var released = protocol.AppSpec{
	Metadata: protocol.Metadata{Name: "app", Version: "1.0.0"},
	Smoke:    []protocol.SmokeCheck{{Name: "ready", Rollout: &protocol.RolloutCheck{}}, {Name: "page", HTTP: &protocol.HTTPCheck{URL: "https://shop.example.com"}}},
}

func TestRemoveInWaves(t *testing.T) {
	f := newFleet()
	kubeconfig, names := kubeconfigOf(t, 4)
	for _, name := range names[:3] {
		f.runs[name] = "v1"
	}
	multi := protocol.MultiCluster{Selector: "fleet", Waves: protocol.Waves(1, "100%"), Parallel: 1, Namespace: "fleet"}

	// The first wave fails: nothing of the second is touched.
	f.bad["c000"] = protocol.ExitFailed
	result, err := f.remove(t, kubeconfig, multi)
	if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), "c000: a finalizer holds it") || result.Outcome != protocol.OutcomeFailed {
		t.Errorf("%+v, %v", result, err)
	}
	if !slices.Equal(f.order, []string{"c000"}) || len(f.runs) != 3 {
		t.Errorf("removed from %v, left %v", f.order, f.runs)
	}

	delete(f.bad, "c000")
	result, err = f.remove(t, kubeconfig, multi)
	if want := (protocol.ClusterCount{Total: 4, Removed: 3, Absent: 1}); err != nil || result.Outcome != protocol.OutcomeRemoved || *result.Clusters != want {
		t.Errorf("%+v, %v", result, err)
	}
	if len(f.runs) != 0 || !slices.Equal(f.order, names) || len(result.Kept) != 3 {
		t.Errorf("left %v after %v, kept %v", f.runs, f.order, result.Kept)
	}
	if result, err = f.remove(t, kubeconfig, multi); err != nil || result.Outcome != protocol.OutcomeAbsent {
		t.Errorf("again: %+v, %v", result, err)
	}
}

// A controller that delivers to all lets go first.
func TestRemoveFromAController(t *testing.T) {
	f := newFleet()
	f.bySet = true
	kubeconfig, names := kubeconfigOf(t, 3)
	for _, name := range names {
		f.runs[name] = "v1"
	}
	multi := protocol.MultiCluster{Selector: "fleet", Waves: protocol.Waves(1, "100%"), Parallel: 1, Namespace: "fleet"}
	result, err := f.remove(t, kubeconfig, multi)
	if err != nil || result.Clusters.Removed != 3 || !slices.Equal(f.order, append([]string{"lets go of 3"}, names...)) {
		t.Errorf("%+v, %v, in the order %v", result, err, f.order)
	}
}

func TestGiveBackInWaves(t *testing.T) {
	f := newFleet()
	kubeconfig, names := kubeconfigOf(t, 4)
	for _, name := range names[:3] {
		f.runs[name] = "v1"
	}
	multi := protocol.MultiCluster{Selector: "fleet", Waves: protocol.Waves(1, "100%"), Parallel: 1, Namespace: "fleet"}
	giveBack := func(dryRun bool) (protocol.DeployResult, error) {
		t.Helper()
		return f.adapter(t, kubeconfig, multi, dryRun).GiveBack(t.Context(), released, "production")
	}
	f.bad["c000"] = protocol.ExitRetryable
	result, err := giveBack(false)
	if protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), "c000: it is being worked on") || len(f.given) != 0 {
		t.Errorf("%+v, %v, given back %v", result, err, f.given)
	}
	delete(f.bad, "c000")
	want := protocol.ClusterCount{Total: 4, GivenBack: 3, Absent: 1}
	for _, dryRun := range []bool{true, false} {
		result, err = giveBack(dryRun)
		if err != nil || result.Outcome != protocol.OutcomeGivenBack || *result.Clusters != want || result.Planned != dryRun || f.given["c000"] == dryRun {
			t.Errorf("dry run %t: %+v, %v", dryRun, result, err)
		}
	}
	if !slices.Equal(f.order, names) || len(f.runs) != 3 {
		t.Errorf("given back by %v, and %v run", f.order, f.runs)
	}
	if result, err = giveBack(false); err != nil || result.Outcome != protocol.OutcomeAbsent {
		t.Errorf("again: %+v, %v", result, err)
	}
}
