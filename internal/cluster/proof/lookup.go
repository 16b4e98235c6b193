package proof

import (
	"context"
	"fmt"
	"maps"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Of is the digest of the reference alone, which is what containerd and CRI-O
// tell of an image that was pulled by digest.
func Of(image protocol.ImageRef) Digests { return Digests{image.Digest: true} }

// Learn adds the other names of the image to the digests: those of its
// platforms' manifests and configurations, and the names under which the
// containers run it.
//
// A container runtime keeps an image by its configuration and tells any one of
// the digests that it was ever pulled under: the same image under another index
// is told by either. So, for a container whose spec pins the image, a digest
// that has one of the image's configurations is another name of it.
func (d Digests) Learn(ctx context.Context, image protocol.ImageRef, containers []Container) error {
	own, err := lookup(ctx, image)
	if err != nil {
		return err
	}
	maps.Copy(d, own)
	for _, c := range containers {
		if d[c.Digest] || !manifest.Uses([]string{c.Image}, image.Digest) {
			continue
		}
		other := image
		other.Digest = c.Digest
		names, err := lookup(ctx, other)
		if err != nil {
			continue // what the registry does not know is not proven to be the image
		}
		for name := range names {
			if own[name] {
				d[c.Digest] = true
			}
		}
	}
	return nil
}

// lookup asks the registry for the digests of the image, of its platforms'
// manifests where it is an index, and of their configurations, which are the
// image IDs of runtimes.
func lookup(ctx context.Context, image protocol.ImageRef) (Digests, error) {
	digests, err := lookupAll(ctx, image)
	if err != nil {
		return nil, fmt.Errorf("look up image %s: %w", image, err)
	}
	return digests, nil
}

func lookupAll(ctx context.Context, image protocol.ImageRef) (Digests, error) {
	ref, err := name.NewDigest(image.FullName()+"@"+image.Digest, auth.Naming(image.Insecure)...)
	if err != nil {
		return nil, err
	}
	descriptor, err := remote.Get(ref, auth.Options(ctx, ref, image.Insecure)...)
	if err != nil {
		return nil, err
	}
	digests := Of(image)
	if !descriptor.MediaType.IsIndex() {
		img, err := descriptor.Image()
		if err != nil {
			return nil, err
		}
		return digests, digests.add(img)
	}
	index, err := descriptor.ImageIndex()
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, m := range manifest.Manifests {
		if !m.MediaType.IsImage() {
			continue
		}
		img, err := index.Image(m.Digest)
		if err != nil {
			return nil, err
		}
		if err := digests.add(img); err != nil {
			return nil, err
		}
	}
	return digests, nil
}

// add takes in a platform's manifest and configuration.
func (d Digests) add(image v1.Image) error {
	manifest, err := image.Digest()
	if err != nil {
		return err
	}
	config, err := image.ConfigName()
	if err != nil {
		return err
	}
	d[manifest.String()], d[config.String()] = true, true
	return nil
}
