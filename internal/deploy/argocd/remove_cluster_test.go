package argocd

import (
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/deploy/deploytest"
)

func TestRemove(t *testing.T) { deploytest.CheckRemove(t, newWorld(t).World) }

func TestRemoveOfWhatIsHeld(t *testing.T) { deploytest.CheckHeld(t, newWorld(t).World) }

func TestRemoveAfterKill(t *testing.T) {
	deploytest.CheckKilled(t, newWorld(t).World, 300*time.Millisecond, time.Second)
}
