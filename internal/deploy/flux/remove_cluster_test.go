package flux

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestRemove(t *testing.T) {
	w := newWorld(t)
	deploytest.CheckRemove(t, w.World)
	left, err := w.client.Resource(sources).Namespace(w.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(left.Items) > 0 {
		t.Errorf("%d OCIRepositories are left, %v", len(left.Items), err)
	}
}

func TestRemoveOfWhatIsHeld(t *testing.T) { deploytest.CheckHeld(t, newWorld(t).World) }

func TestRemoveAfterKill(t *testing.T) {
	deploytest.CheckKilled(t, newWorld(t).World, 300*time.Millisecond, time.Second)
}

func TestRemoveRefuses(t *testing.T) {
	w := newWorld(t)
	w.Deploy(protocol.OutcomeInstalled)
	w.patch(releases, "somebody", `{"spec":{"suspend":true}}`)
	if _, err := w.Remove(t.Context()); protocol.ExitCode(err) != protocol.ExitFailed {
		t.Errorf("a HelmRelease that is suspended: %v", err)
	}
	w.patch(releases, "somebody", `{"spec":{"suspend":false}}`)
}
