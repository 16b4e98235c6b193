package build

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Layouts keeps images as OCI layouts in the cache, by their input: for backends
// that build to disk.
type Layouts struct {
	Store ocilayout.Store
	// Format is part of every layout's key. It must change with anything that
	// makes a different image of the same input.
	Format string
}

func (l Layouts) key(input string) string {
	text := l.Format + " " + input
	if l.Store.Stored {
		text += " stored"
	}
	return digest.FromString(text).String()
}

// Find implements [Backend].
func (l Layouts) Find(_ context.Context, r Request) (protocol.ImageRef, bool, error) {
	image, found := l.Store.Find(r.App.Name, l.key(r.Input))
	if !found {
		return protocol.ImageRef{}, false, nil
	}
	return inLayout(protocol.ImageRef{}, image), true, nil
}

// Make has write put the images of all platforms into a draft, and keeps them if
// the input is still that of the request.
func (l Layouts) Make(ctx context.Context, r Request, ref protocol.ImageRef, write func(*ocilayout.Draft) ([]ocispec.Descriptor, error)) (_ protocol.ImageRef, err error) {
	draft, err := l.Store.Begin(r.App.Name)
	if err != nil {
		return ref, err
	}
	defer func() { err = errors.Join(err, draft.Discard()) }()
	images, err := write(draft)
	for _, list := range r.Context.SBOMs {
		if err == nil {
			images, err = draft.Attest(images, list.Platform, ocilayout.PredicateSPDX, list.SPDX)
		}
	}
	if err == nil {
		err = r.Verify(ctx)
	}
	if err != nil {
		return ref, err
	}
	image, err := draft.Commit(l.key(r.Input), images)
	return inLayout(ref, image), err
}

func inLayout(ref protocol.ImageRef, image ocilayout.Image) protocol.ImageRef {
	ref.Location, ref.Path = protocol.InLayout, image.Path
	ref.Digest, ref.Platforms = image.Digest, image.Platforms
	return ref
}
