package helm

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/release"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/proof"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// imageOf is the image of that digest which the revision uses.
func imageOf(r *release.Release, digest string) (protocol.ImageRef, error) {
	objects, err := manifest.Parse(r.Manifest)
	if err != nil {
		return protocol.ImageRef{}, err
	}
	for _, image := range manifest.Images(objects) {
		if manifest.Uses([]string{image}, digest) {
			return protocol.ParseImageRef(image)
		}
	}
	return protocol.ImageRef{}, fmt.Errorf("revision %d of release %s has no container with the image %s", r.Version, r.Name, digest)
}

// likeImage is the digest of the image in a revision that is of the repository of
// the reference; "" when there is none, or more than one.
func likeImage(r *release.Release, reference string) (string, error) {
	like, err := protocol.ParseImageRef(reference)
	if err != nil {
		return "", nil //nolint:nilerr // nobody has said what the image is
	}
	objects, err := manifest.Parse(r.Manifest)
	if err != nil {
		return "", err
	}
	return proof.DigestIn(objects, like), nil
}

// proven reports whether the image is what runs in the pods of the revision.
func (d *deployment) proven(ctx context.Context, r *release.Release, snapshots []rollout.Snapshot) (bool, error) {
	if d.prover == nil {
		return true, nil
	}
	objects, err := manifest.Parse(r.Manifest)
	if err != nil {
		return false, err
	}
	return d.prover.Proven(ctx, objects, snapshots)
}
