package flux

import (
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// back goes back and fails the test unless it comes to the outcome.
func (w *world) back(to string, want protocol.Outcome) protocol.DeployResult {
	w.T.Helper()
	result, err := w.Adapter().(*adapter).Rollback(w.T.Context(), w.Spec(), deploytest.Target, to)
	if err != nil {
		w.T.Fatalf("%v\nhint: %s", err, protocol.HintOf(err))
	}
	if result.Outcome != want || result.Planned != w.DryRun {
		w.T.Fatalf("rollback: %+v, want %s", result, want)
	}
	return result
}

func TestRollback(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Adapter().(*adapter).Rollback(t.Context(), w.Spec(), deploytest.Target, ""); protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "there is no HelmRelease") {
		t.Errorf("a rollback of nothing: %v", err)
	}
	first := w.Deploy(protocol.OutcomeInstalled)
	refused := func(to, word string) {
		t.Helper()
		_, err := w.Adapter().(*adapter).Rollback(t.Context(), w.Spec(), deploytest.Target, to)
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), word) || !strings.Contains(protocol.HintOf(err), "1.0.0 (revision 1)") {
			t.Errorf("rollback to %q: %v, hint %q", to, err, protocol.HintOf(err))
		}
	}
	refused("", "no earlier revision")
	refused("7.0.0", "no revision with version 7.0.0")

	w.NextImage("1.1.0")
	w.Values["env"] = []any{map[string]any{"name": "NEW", "value": "yes"}}
	second := w.Deploy(protocol.OutcomeUpgraded)
	w.DryRun = true
	before := w.versions()
	if planned := w.back("", protocol.OutcomeRolledBack); planned.Image != first.Image || w.versions() != before {
		t.Errorf("plan %+v", planned)
	}
	w.DryRun = false
	result := w.back("", protocol.OutcomeRolledBack)
	if result.Image != first.Image || result.Chart != first.Chart || result.PreviousImage != second.Image || result.PreviousChart != second.Chart || result.Revision != 3 || result.Version != "1.0.0" {
		t.Errorf("result %+v, want that of %+v", result, first)
	}
	container := w.Deployment().Spec.Template.Spec.Containers[0]
	if !strings.HasSuffix(container.Image, first.Image) || len(container.Env) != 0 {
		t.Errorf("image %s with %v, want the values of the first revision too", container.Image, container.Env)
	}
	// Again with a version: it runs.
	if again := w.back("v1.0.0", protocol.OutcomeUnchanged); again.Image != first.Image {
		t.Errorf("result %+v", again)
	}
	// At once forth again: the source of the second chart is still being deleted.
	if third := w.Deploy(protocol.OutcomeUpgraded); third.Image != second.Image || third.PreviousImage != first.Image {
		t.Errorf("result %+v", third)
	}
	w.NoLease()
}
