package flux

import "testing"

func TestSeveralImages(t *testing.T) { newWorld(t).SeveralImages() }
