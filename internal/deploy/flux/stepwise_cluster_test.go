package flux

import (
	"testing"

	"github.com/nationtech/harmony/internal/deploy/deploytest"
)

func TestPausesInSteps(t *testing.T) { deploytest.New(t, Name, New).PausesInSteps() }
