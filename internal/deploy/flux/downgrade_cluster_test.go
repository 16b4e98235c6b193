package flux

import "testing"

func TestKeepsNewer(t *testing.T) { newWorld(t).KeepsNewer() }
