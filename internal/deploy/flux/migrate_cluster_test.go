package flux

import "testing"

func TestMigrates(t *testing.T) { newWorld(t).Migrates() }
