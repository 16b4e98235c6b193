package helm

import (
	"testing"

	"github.com/nationtech/harmony/internal/deploy/deploytest"
)

func TestKeepsNewer(t *testing.T) { deploytest.New(t, Name, New).KeepsNewer() }
