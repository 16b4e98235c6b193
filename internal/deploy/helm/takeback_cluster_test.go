package helm

import (
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestTakesBack(t *testing.T) { deploytest.New(t, Name, New).TakesBack() }

// Helm's history tells which check failed, and a later rollback does not go to what
// failed it.
func TestHistoryTellsOfTheCheck(t *testing.T) {
	w := newWorld(t)
	first := w.deploy(protocol.OutcomeInstalled, 1)
	w.version, w.image = "1.1.0", clustertest.Push(t, "harmony-test/app", "1.1.0")
	second := w.deploy(protocol.OutcomeUpgraded, 2)
	back := func(from protocol.DeployResult) protocol.DeployResult {
		t.Helper()
		result, err := w.operator().TakeBack(t.Context(), w.spec(), "test", capability.Setback{Deployed: from, Reason: "check devices failed"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return result
	}
	if result := back(second); result.Image != first.Image || result.Revision != 3 || result.RunningVersion != "1.0.0" || result.PreviousImage != second.Image {
		t.Errorf("result %+v", result)
	}
	if got, want := w.statuses(), []release.Status{release.StatusSuperseded, release.StatusFailed, release.StatusDeployed}; !slices.Equal(got, want) {
		t.Errorf("history %v, want %v", got, want)
	}
	if told := w.history()[1].Info.Description; !strings.HasPrefix(told, "harmony: app 1.1.0, image ") || !strings.HasSuffix(told, "; failed: check devices failed") {
		t.Errorf("the history tells %q", told)
	}
	w.version, w.image = "1.2.0", clustertest.Push(t, "harmony-test/app", "1.2.0")
	if third := w.deploy(protocol.OutcomeUpgraded, 4); third.PreviousRevision != 3 || third.PreviousImage != first.Image {
		t.Errorf("result %+v", third)
	}
	if result, err := w.operator().Rollback(t.Context(), w.spec(), "test", ""); err != nil || result.Version != "1.0.0" {
		t.Errorf("rolled back to %s, %v, want 1.0.0", result.Version, err)
	}
	w.noLease()
}
