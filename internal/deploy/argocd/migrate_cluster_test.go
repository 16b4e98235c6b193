package argocd

import "testing"

func TestMigratesOnce(t *testing.T) { newWorld(t).MigratesOnce() }
