package argocd

import "testing"

func TestSeveralImages(t *testing.T) { newWorld(t).SeveralImages() }
