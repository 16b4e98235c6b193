package fan

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/cluster/waves"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/internal/deploy/edge"
	"github.com/nationtech/harmony/internal/deploy/helm"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// versionIs has the version of the app's ConfigMap checked.
func versionIs(version string) protocol.SmokeCheck {
	return protocol.SmokeCheck{Name: "version", Timeout: protocol.Duration(2 * time.Second), Resource: &protocol.ResourceCheck{
		APIVersion: "v1", Kind: "ConfigMap", Name: "app", JSON: []protocol.JSONExpect{{Path: "{.data.version}", Equals: version}},
	}}
}

// TestBetweenRealClusters goes to two API servers, one wave each.
func TestBetweenRealClusters(t *testing.T) {
	w := deploytest.New(t, helm.Name, helm.New)
	servers := apiServers(t, "eu", "us")
	f := &realFleet{World: w, clusters: map[string]clustertest.Cluster{"eu": servers[0], "us": servers[1]}}
	f.kubeconfig = join(t, f.clusters, nil)
	f.Templates = map[string]string{"app.yaml": fleetTemplate}
	f.Values["version"] = "1"
	waved := func(g protocol.Gate) protocol.MultiCluster {
		return protocol.MultiCluster{Contexts: []string{"eu", "us"}, Waves: []protocol.Wave{{UpTo: 1, Gate: g, Own: true}, {UpTo: "100%"}}}
	}
	f.good(helm.Name, waved(protocol.Gate{}), protocol.ClusterCount{Total: 2, Installed: 2})

	// A check that fails after the first wave: it goes back, and the second never begins.
	f.Values["version"] = "2"
	result, _, err := f.deploy(helm.Name, waved(protocol.Gate{Analysis: []protocol.SmokeCheck{versionIs("1")}}))
	if protocol.ExitCode(err) != protocol.ExitSmoke || result.Outcome != protocol.OutcomeRolledBack || *result.Clusters != (protocol.ClusterCount{Total: 2, RolledBack: 1, Skipped: 1}) {
		t.Errorf("%+v, %v", result, err)
	}
	f.runs("1", "1")

	// Checks that pass, and a pause, which another machine ends.
	paused := waved(protocol.Gate{Analysis: []protocol.SmokeCheck{versionIs("2")}, Pause: true})
	if result, _, err = f.deploy(helm.Name, paused); err != nil || result.Outcome != protocol.OutcomePaused {
		t.Fatalf("%+v, %v", result, err)
	}
	f.runs("2", "1")
	was := f.Version
	f.Version = "3.0.0"
	if _, _, err = f.deploy(helm.Name, paused); protocol.ExitCode(err) != protocol.ExitRetryable {
		t.Errorf("another release: %v", err)
	}
	f.Version = was
	f.runs("2", "1")
	f.say(paused, resumed)
	f.good(helm.Name, paused, protocol.ClusterCount{Total: 2, Upgraded: 1, Unchanged: 1})

	f.killed(paused)
	f.taken(paused)
}

// killed kills the process that waits between the waves, and has its work continued.
func (f *realFleet) killed(multi protocol.MultiCluster) {
	f.T.Helper()
	f.Values["version"] = "3"
	multi.Waves[0].Gate = protocol.Gate{Wait: protocol.Duration(time.Hour)}
	cmd := f.elsewhere(multi)
	if err := cmd.Start(); err != nil {
		f.T.Fatal(err)
	}
	f.await(multi, waves.Waiting)
	if err := cmd.Process.Kill(); err != nil {
		f.T.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	f.runs("3", "2")
	if result, _, err := f.deploy(helm.Name, multi); err != nil || result.Outcome != protocol.OutcomePaused || result.Clusters.Unchanged != 1 {
		f.T.Errorf("after the kill: %+v, %v", result, err)
	}
	f.say(multi, resumed)
	f.good(helm.Name, multi, protocol.ClusterCount{Total: 2, Upgraded: 1, Unchanged: 1})
}

// taken aborts a rollout that another process follows, and takes it back.
func (f *realFleet) taken(multi protocol.MultiCluster) {
	f.T.Helper()
	f.Values["version"] = "4"
	cmd := f.elsewhere(multi)
	if err := cmd.Start(); err != nil {
		f.T.Fatal(err)
	}
	f.await(multi, waves.Waiting)
	// A second release waits for the lease of the first.
	ctx, cancel := context.WithTimeout(f.T.Context(), 2*time.Second)
	defer cancel()
	if _, err := f.open(helm.Name, multi).Deploy(ctx, f.Spec(), deploytest.Target, f.Image, f.Chart()); err == nil {
		f.T.Error("two releases at once")
	}
	f.say(multi, func(r *waves.Record, now time.Time) { r.Enter(waves.Aborted, "ann@desk", now) })
	if err := cmd.Wait(); err == nil {
		f.T.Error("the rollout that was aborted is done")
	}
	f.runs("4", "3")
	back, err := f.open(helm.Name, multi).(*fanned).TakeRolloutBack(f.T.Context(), f.Spec(), deploytest.Target, func(protocol.DeployResult) {})
	if err != nil || back.Clusters.RolledBack != 1 {
		f.T.Errorf("%+v, %v", back, err)
	}
	f.runs("3", "3")
	leases, err := f.clusters["eu"].Client.CoordinationV1().Leases(f.Namespace).List(f.T.Context(), metav1.ListOptions{})
	if err != nil || len(leases.Items) != 0 {
		f.T.Errorf("leases left: %+v, %v", leases, err)
	}
}

// runs are the versions of the two clusters.
func (f *realFleet) runs(eu, us string) {
	f.T.Helper()
	if f.version("eu") != eu || f.version("us") != us {
		f.T.Errorf("versions: eu %s, us %s, want %s and %s", f.version("eu"), f.version("us"), eu, us)
	}
}

// say changes the record.
func (f *realFleet) say(multi protocol.MultiCluster, change func(*waves.Record, time.Time)) {
	f.T.Helper()
	_, err := f.open(helm.Name, multi).(*fanned).Rollout(f.T.Context(), f.Spec(), deploytest.Target, func(r *waves.Record, now time.Time) error {
		change(r, now)
		return nil
	})
	if err != nil {
		f.T.Fatal(err)
	}
}

// await waits for a state of the rollout.
func (f *realFleet) await(multi protocol.MultiCluster, want waves.State) {
	f.T.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		r, err := f.open(helm.Name, multi).(*fanned).Rollout(f.T.Context(), f.Spec(), deploytest.Target, nil)
		if err == nil && r != nil && r.State == want {
			return
		}
		if time.Now().After(deadline) {
			f.T.Fatalf("the rollout is %+v, %v, want %s", r, err, want)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// other is what another process of this test deploys, and stays with.
type other struct {
	Kubeconfig, Namespace string
	App                   protocol.AppSpec
	Version               string
	Image                 protocol.ImageRef
	Chart                 protocol.ChartRef
	Multi                 protocol.MultiCluster
}

const otherProcess = "HARMONY_TEST_FAN_DEPLOYS"

// elsewhere is a process that deploys and follows the rollout.
func (f *realFleet) elsewhere(multi protocol.MultiCluster) *exec.Cmd {
	f.T.Helper()
	multi.Namespace = f.Namespace
	app := f.Spec()
	text, err := json.Marshal(other{f.kubeconfig, f.Namespace, app, app.Version, f.Image, f.Chart(), multi})
	if err != nil {
		f.T.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestDeploysElsewhere$")
	cmd.Env = append(os.Environ(), otherProcess+"="+string(text))
	return cmd
}

// TestDeploysElsewhere is the other process.
func TestDeploysElsewhere(t *testing.T) {
	text := os.Getenv(otherProcess)
	if text == "" {
		return
	}
	var o other
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	o.App.Metadata = protocol.Metadata{Name: "app", Version: o.Version}
	flags := &Flags{Flags: conn.Flags{Kubeconfig: o.Kubeconfig}, follow: true}
	open := Adapters(flags, map[string]delivery.Constructor{helm.Name: helm.New}, edge.New, realChecks)[helm.Name]
	d, err := open(t.Context(), capability.Environment{
		Topology: protocol.Topology{Metadata: protocol.Metadata{Name: "production"}, Targets: map[string]protocol.Target{deploytest.Target: {MultiCluster: &o.Multi}}},
		Provider: protocol.Provider{Adapter: helm.Name}, Progress: func(protocol.Event) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Deploy(t.Context(), o.App, deploytest.Target, o.Image, o.Chart); err != nil {
		t.Fatal(err)
	}
}
