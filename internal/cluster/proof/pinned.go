package proof

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// pinned proves the images that the objects name by digest, repository by
// repository: a chart may take several images of one. Of images without a digest
// nothing is said, see [Loose].
func (p *one) pinned(ctx context.Context, objects []*unstructured.Unstructured, snapshots []rollout.Snapshot) (bool, error) {
	wanted := map[string][]protocol.ImageRef{}
	for _, text := range manifest.Images(objects) {
		image, err := protocol.ParseImageRef(text)
		if err == nil && image.Digest != "" {
			wanted[image.FullName()] = append(wanted[image.FullName()], image)
		}
	}
	for _, text := range Loose(objects) { // whose digest may be any
		delete(wanted, repository(text))
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		proven, err := p.eachOf(ctx, wanted[name], snapshots)
		if err != nil || !proven {
			return false, err
		}
	}
	return true, nil
}

// eachOf reports whether all containers with an image of one repository run one of
// the images; an error tells of one that runs another.
func (p *one) eachOf(ctx context.Context, images []protocol.ImageRef, snapshots []rollout.Snapshot) (bool, error) {
	digests := Digests{}
	for _, image := range images {
		digests[image.Digest] = true
	}
	v := Examine(images[0], digests, snapshots)
	for _, image := range images {
		if len(v.Others) == 0 {
			break
		}
		other := one{release: p.release, image: image}
		if err := digests.Learn(ctx, image, v.Others); err != nil {
			return false, errors.Join(other.wrong(v), err)
		}
		v = Examine(image, digests, snapshots)
	}
	if len(v.Others) > 0 {
		other := one{release: p.release, image: images[0]}
		return false, other.wrong(v)
	}
	return len(v.Starting) == 0, nil
}

// Loose lists the images of objects that are named without a digest, sorted.
func Loose(objects []*unstructured.Unstructured) []string {
	loose := map[string]bool{}
	for _, image := range manifest.Images(objects) {
		if !strings.Contains(image, "@") {
			loose[image] = true
		}
	}
	return slices.Sorted(maps.Keys(loose))
}
