package flux

import (
	"testing"

	"github.com/nationtech/harmony/internal/cluster/marks"
)

func TestTakesBack(t *testing.T) {
	w := newWorld(t)
	w.TakesBack()
	if told, ok := w.get(releases).GetAnnotations()[marks.TakenBack]; ok {
		t.Errorf("a later release still has the mark %q", told)
	}
}
