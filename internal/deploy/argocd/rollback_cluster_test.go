package argocd

import (
	"context"
	"testing"

	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// rollbacker is what the subcommand rollback asks of an adapter.
type rollbacker interface {
	Rollback(ctx context.Context, app protocol.AppSpec, target, to string) (protocol.DeployResult, error)
}

func TestRollbackOnRequest(t *testing.T) {
	w := newWorld(t)
	first := w.Deploy(protocol.OutcomeInstalled)
	back := w.Adapter().(rollbacker)
	if _, err := back.Rollback(t.Context(), w.Spec(), deploytest.Target, ""); protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Errorf("%v: exit code %d, want %d", err, protocol.ExitCode(err), protocol.ExitUnsupported)
	}
	image := w.Image
	w.NextImage("1.1.0")
	second := w.Deploy(protocol.OutcomeUpgraded)
	if _, err := back.Rollback(t.Context(), w.Spec(), deploytest.Target, "0.9.0"); protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Errorf("%v: exit code %d, want %d", err, protocol.ExitCode(err), protocol.ExitUnsupported)
	}
	result, err := back.Rollback(t.Context(), w.Spec(), deploytest.Target, "")
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != protocol.OutcomeRolledBack || result.Image != first.Image || result.PreviousImage != second.Image {
		t.Errorf("result %+v, want rolled-back from %s to %s", result, second.Image, first.Image)
	}
	w.Image = image
	w.Deploy(protocol.OutcomeUnchanged)
}
