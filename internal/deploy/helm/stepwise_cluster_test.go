package helm

import (
	"testing"

	"github.com/nationtech/harmony/internal/deploy/deploytest"
)

func TestPausesInSteps(t *testing.T) { deploytest.New(t, Name, New).PausesInSteps() }

func TestAbortsAreTold(t *testing.T) { deploytest.New(t, Name, New).AbortsAreTold() }

func TestIsAnalysed(t *testing.T) { deploytest.New(t, Name, New).IsAnalysed() }
