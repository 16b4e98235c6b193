package helm

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/deploy/proof"
	"github.com/nationtech/harmony/internal/deploy/rollout"
	"github.com/nationtech/harmony/internal/registryauth"
)

// proven reports whether the image is what runs in the pods of the revision;
// false when that cannot be said yet. An image that is not used, or another
// digest that runs in its place, is an error.
func (d *deployment) proven(ctx context.Context, r *release.Release, snapshots []rollout.Snapshot) (bool, error) {
	v := proof.Examine(d.image, d.digests, snapshots)
	if len(v.Others) > 0 {
		if err := d.digests.Learn(ctx, d.image, v.Others, registryauth.Keychain()); err != nil {
			return false, errors.Join(d.wrong(v), err)
		}
		v = proof.Examine(d.image, d.digests, snapshots)
	}
	switch {
	case len(v.Others) > 0:
		return false, d.wrong(v)
	case len(v.Starting) > 0:
		return false, nil
	case v.Running > 0:
		return true, nil
	}
	// Nothing runs now: a CronJob, or a workload scaled to none.
	objects, err := parseManifest(r.Manifest)
	if err != nil {
		return false, err
	}
	idle := idleObjects(objects, snapshots)
	if proof.Uses(proof.Images(idle), d.image.Digest) {
		return true, nil
	}
	return false, fmt.Errorf("release %s does not use the image: no container runs %s@%s", d.app.Name, d.image.FullName(), d.image.Digest)
}

func (d *deployment) wrong(v proof.Verdict) error {
	others := make([]string, len(v.Others))
	for i, c := range v.Others {
		others[i] = c.String()
	}
	return fmt.Errorf("release %s should run %s@%s, but: %s", d.app.Name, d.image.FullName(), d.image.Digest, strings.Join(others, "; "))
}

// idleObjects are the objects of which no pod exists now.
func idleObjects(objects []*unstructured.Unstructured, snapshots []rollout.Snapshot) []*unstructured.Unstructured {
	running := map[string]bool{}
	for _, s := range snapshots {
		running[s.Workload.String()] = len(s.Current)+len(s.Old) > 0
	}
	var idle []*unstructured.Unstructured
	for _, object := range objects {
		if !running[rollout.Workload{Kind: object.GetKind(), Name: object.GetName()}.String()] {
			idle = append(idle, object)
		}
	}
	return idle
}
