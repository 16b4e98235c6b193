package argocd

import (
	"testing"
)

func TestTakesBack(t *testing.T) { newWorld(t).TakesBack() }
