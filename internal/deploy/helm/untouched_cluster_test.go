package helm

import (
	"slices"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/release"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// What the API server refuses is told before Helm writes a revision.
func TestRefusedUpgradeTouchesNothing(t *testing.T) {
	w := newWorld(t)
	w.deploy(protocol.OutcomeInstalled, 1)
	good := w.templates["app.yaml"]
	untouched := func() {
		t.Helper()
		if n := len(w.history()); n != 1 {
			t.Errorf("%d revisions, want 1", n)
		}
		w.noLease()
	}
	w.replaceTemplate("  selector: {matchLabels: {app: {{ .Release.Name }}}}", "  selector: {matchLabels: {app: other}}")
	w.replaceTemplate("    metadata: {labels: {app: {{ .Release.Name }}}}", "    metadata: {labels: {app: other}}")
	w.fails(10*time.Second, protocol.ExitInvalid, "Deployment "+w.namespace+"/app (templates/app.yaml)", "spec.selector", "immutable")
	untouched()
	w.templates["app.yaml"] = good
	w.values["env"] = []any{map[string]any{"name": "A", "value": float64(1)}}
	w.fails(10*time.Second, protocol.ExitInvalid, "env.value must be a string, not a number")
	untouched()
}

// A rollback that is only planned takes no Lease, and mends nothing that a process
// left half done.
func TestPlannedRollbackChangesNothing(t *testing.T) {
	w := newWorld(t)
	first := w.deploy(protocol.OutcomeInstalled, 1)
	w.image = clustertest.Push(t, "harmony-test/app", "1.1.0")
	w.deploy(protocol.OutcomeUpgraded, 2)
	w.setStatus(release.StatusPendingUpgrade, 0, true)
	before := w.statuses()
	w.dryRun = true
	for _, to := range []string{"", "v1.0.0"} {
		result, err := w.operator().Rollback(t.Context(), w.spec(), "test", to)
		if err != nil || !result.Planned || to == "" && (result.Outcome != protocol.OutcomeRolledBack || result.Image != first.Image) {
			t.Errorf("to %q: %+v, %v", to, result, err)
		}
	}
	if after := w.statuses(); !slices.Equal(before, after) {
		t.Errorf("revisions %v, before %v", after, before)
	}
	w.noLease()
}
