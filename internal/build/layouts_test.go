package build

import (
	"testing"

	"github.com/nationtech/harmony/internal/ocilayout"
)

func TestStoredLayoutHasAnotherKey(t *testing.T) {
	if (Layouts{}).key("sha256:1") == (Layouts{Store: ocilayout.Store{Stored: true}}).key("sha256:1") {
		t.Error("a stored layout is found in place of a compressed one")
	}
}
