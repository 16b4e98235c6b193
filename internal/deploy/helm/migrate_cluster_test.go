package helm

import (
	"testing"

	"github.com/nationtech/harmony/internal/deploy/deploytest"
)

func TestMigrates(t *testing.T) { deploytest.New(t, Name, New).Migrates() }

func TestMigratesOnce(t *testing.T) { deploytest.New(t, Name, New).MigratesOnce() }
