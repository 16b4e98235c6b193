package helm

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/release"
	helmtime "helm.sh/helm/v3/pkg/time"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/cluster/lease"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// setStatus writes a status into the last revision, as a Helm that was killed
// leaves it. A revision that is not ours has no record.
func (w *world) setStatus(status release.Status, age time.Duration, ours bool) {
	w.t.Helper()
	config := w.helm()
	last, err := config.Releases.Last(appName)
	if err != nil {
		w.t.Fatal(err)
	}
	last.Info.Status = status
	last.Info.LastDeployed = helmtime.Time{Time: time.Now().Add(-age)}
	if !ours {
		last.Chart.Metadata.Annotations = nil
	}
	if err := config.Releases.Update(last); err != nil {
		w.t.Fatal(err)
	}
}

// deadLease leaves a lease whose holder is gone.
func (w *world) deadLease() {
	w.t.Helper()
	gone := exec.Command("sleep", "60")
	if err := gone.Start(); err != nil {
		w.t.Fatal(err)
	}
	holder := lease.Identity(gone.Process.Pid)
	if err := gone.Process.Kill(); err != nil {
		w.t.Fatal(err)
	}
	gone.Wait()
	now := metav1.NowMicro()
	dead := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: lease.Name(appName)},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: new(int32(3600)), AcquireTime: &now, RenewTime: &now},
	}
	if _, err := w.cluster.Client.CoordinationV1().Leases(w.namespace).Create(w.t.Context(), dead, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func TestHalfDoneIsMended(t *testing.T) {
	for _, c := range []struct {
		name     string
		status   release.Status
		ours     bool
		lease    bool
		other    bool // deploy something else than what was left
		revision int
	}{
		{name: "install", status: release.StatusPendingInstall, ours: true, revision: 2},
		{name: "install of another image", status: release.StatusPendingInstall, ours: true, other: true, revision: 2},
		{name: "upgrade", status: release.StatusPendingUpgrade, ours: true, revision: 2},
		{name: "rollback under our lease", status: release.StatusPendingRollback, ours: true, lease: true, revision: 2},
		{name: "plain helm under our lease", status: release.StatusPendingUpgrade, lease: true, revision: 2},
		{name: "uninstall under our lease", status: release.StatusUninstalling, lease: true, revision: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.deploy(protocol.OutcomeInstalled, 1)
			w.setStatus(c.status, time.Second, c.ours)
			if c.lease {
				w.deadLease()
			}
			if c.other {
				w.image = clustertest.Push(t, "harmony-test/app", "1.1.0")
			}
			w.deploy(protocol.OutcomeUpgraded, c.revision)
			w.converges()
		})
	}
}

// An upgrade that was killed and is followed by one of something else is rolled
// back first, so that what only it had is gone.
func TestHalfDoneUpgradeLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.deploy(protocol.OutcomeInstalled, 1)
	base := w.templates["app.yaml"]
	w.templates["extra.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"
	w.deploy(protocol.OutcomeUpgraded, 2)

	// Revision 2 is made to look as if it was killed before its end.
	w.setStatus(release.StatusPendingUpgrade, time.Second, true)
	config := w.helm()
	first, err := config.Releases.Get(appName, 1)
	if err != nil {
		t.Fatal(err)
	}
	first.Info.Status = release.StatusDeployed
	if err := config.Releases.Update(first); err != nil {
		t.Fatal(err)
	}

	delete(w.templates, "extra.yaml")
	w.templates["app.yaml"] = base
	w.values["replicas"] = float64(2)
	w.deploy(protocol.OutcomeUpgraded, 4)
	if _, err := w.cluster.Client.CoreV1().ConfigMaps(w.namespace).Get(t.Context(), "extra", metav1.GetOptions{}); err == nil {
		t.Error("the ConfigMap of the killed upgrade is left")
	}
}

// A plain helm takes no lease: it is waited for.
func TestPendingOfPlainHelmIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.deploy(protocol.OutcomeInstalled, 1)
	w.settings["timeout"] = "4s"
	w.setStatus(release.StatusPendingUpgrade, time.Second, false)
	w.fails(6*time.Second, protocol.ExitRetryable, "pending-upgrade", "helm")

	w.settings["timeout"] = "1m"
	time.AfterFunc(2*time.Second, func() { w.setStatus(release.StatusFailed, time.Second, false) })
	start := time.Now()
	w.deploy(protocol.OutcomeUpgraded, 2)
	if time.Since(start) < 2*time.Second {
		t.Error("it did not wait for helm")
	}

	w.setStatus(release.StatusPendingUpgrade, 2*foreignAge, false)
	w.deploy(protocol.OutcomeUpgraded, 3)
}

// A lease whose holder lives is waited for, and told.
func TestLeaseOfTheLivingIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.namespace = w.cluster.Namespace(t)
	leases := w.cluster.Client.CoordinationV1().Leases(w.namespace)
	l, err := lease.Acquire(t.Context(), leases, appName, func(string, time.Time) {})
	if err != nil {
		t.Fatal(err)
	}
	_, stop := l.Hold(t.Context())
	w.settings["timeout"] = "3s"
	w.fails(5*time.Second, protocol.ExitRetryable, "being worked on by process")

	w.settings["timeout"] = "1m"
	time.AfterFunc(2*time.Second, stop)
	w.deploy(protocol.OutcomeInstalled, 1)
	told := false
	w.mu.Lock()
	for _, e := range w.events {
		told = told || e.Phase == "wait" && strings.Contains(e.Message, "process")
	}
	w.mu.Unlock()
	if !told {
		t.Error("no event told whom it waited for")
	}
}
