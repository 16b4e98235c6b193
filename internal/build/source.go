package build

import (
	"context"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/build/inputs"
)

// Source is where an image comes from: something that is, or can write, a
// Dockerfile with its context. It belongs to one app. One that is an io.Closer
// is closed when the app is done.
type Source interface {
	// Dockerfile looks anew each time at what the image is made from. It tells
	// the Name, Text and settings of the Dockerfile, but no folders of a context
	// that is still to be written.
	Dockerfile(ctx context.Context) (Context, error)
	// Items lists everything else that the image depends on, as the last
	// Dockerfile found it: the same list for the same input on any machine. What
	// the Dockerfile and its settings say is not a part of it. Of contexts that
	// are there it is what the Dockerfile takes, by the context's name.
	Items(ctx context.Context, takes map[string][]dockerfile.Take) ([]inputs.Item, error)
	// Context makes the context of what was listed. What has to be written goes
	// into dir, an empty folder that is removed after the build.
	Context(ctx context.Context, dir string) (Context, error)
}
