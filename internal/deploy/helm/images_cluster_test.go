package helm

import (
	"testing"

	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestSeveralImages(t *testing.T) { deploytest.New(t, Name, New).SeveralImages() }

// A chart that takes only some of the images is not deployed.
func TestOneOfSeveralImagesIsNotUsed(t *testing.T) {
	w := newWorld(t)
	w.image.Images = map[string]protocol.ImageRef{"worker": {Registry: w.image.Registry, Repository: "harmony-test/worker", Digest: w.image.Digest}}
	_, err := w.try(t.Context())
	if protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("got %v, exit code %d", err, protocol.ExitCode(err))
	}
	if found, err := w.helm().Releases.History(appName); err == nil {
		t.Errorf("there are %d revisions", len(found))
	}
}
