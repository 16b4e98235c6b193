package proof

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Prover proves that the pods of a release run its image, as often as it is
// asked during a rollout. It is not safe for use by several goroutines.
type Prover struct {
	release string
	image   protocol.ImageRef
	// digests are the names of the image that are known so far.
	digests Digests
}

// NewProver makes the prover of a release. It asks the image's registry when a
// runtime reports the image under a name that only the registry knows.
func NewProver(release string, image protocol.ImageRef) *Prover {
	return &Prover{release: release, image: image, digests: Of(image)}
}

// Proven reports whether the image is what runs in the pods of the release,
// whose objects those are; false when that cannot be said yet. An image that is
// not used, or another digest that runs in its place, is an error.
func (p *Prover) Proven(ctx context.Context, objects []*unstructured.Unstructured, snapshots []rollout.Snapshot) (bool, error) {
	v := Examine(p.image, p.digests, snapshots)
	if len(v.Others) > 0 {
		if err := p.digests.Learn(ctx, p.image, v.Others); err != nil {
			return false, errors.Join(p.wrong(v), err)
		}
		v = Examine(p.image, p.digests, snapshots)
	}
	switch {
	case len(v.Others) > 0:
		return false, p.wrong(v)
	case len(v.Starting) > 0:
		return false, nil
	case v.Running > 0:
		return true, nil
	}
	// Nothing runs now: a CronJob, or a workload scaled to none.
	if manifest.Uses(manifest.Images(idle(objects, snapshots)), p.image.Digest) {
		return true, nil
	}
	return false, fmt.Errorf("release %s does not use the image: no container runs %s@%s", p.release, p.image.FullName(), p.image.Digest)
}

func (p *Prover) wrong(v Verdict) error {
	others := make([]string, len(v.Others))
	for i, c := range v.Others {
		others[i] = c.String()
	}
	return fmt.Errorf("release %s should run %s@%s, but: %s", p.release, p.image.FullName(), p.image.Digest, strings.Join(others, "; "))
}

// idle are the objects of which no pod exists now.
func idle(objects []*unstructured.Unstructured, snapshots []rollout.Snapshot) []*unstructured.Unstructured {
	running := map[string]bool{}
	for _, s := range snapshots {
		running[s.Workload.String()] = len(s.Current)+len(s.Old) > 0
	}
	var found []*unstructured.Unstructured
	for _, object := range objects {
		if !running[rollout.Workload{Kind: object.GetKind(), Name: object.GetName()}.String()] {
			found = append(found, object)
		}
	}
	return found
}
