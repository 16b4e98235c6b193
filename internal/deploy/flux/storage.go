package flux

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	deployvalues "github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/proof"
	"github.com/nationtech/harmony/internal/cluster/rollout"
)

// stored is a revision in Helm's storage, which Flux writes, with the objects
// that it is made of.
type stored struct {
	version   int
	objects   []*unstructured.Unstructured
	workloads []rollout.Workload
	// hasHooks is true when something runs before the objects are applied.
	hasHooks bool
}

// storage is Helm's own, in the namespace that Flux keeps it in.
func (d *deployment) storage(s seen) *driver.Secrets {
	namespace := s.Status.StorageNamespace
	if namespace == "" {
		namespace = d.Namespace
	}
	return driver.NewSecrets(d.Client.CoreV1().Secrets(namespace))
}

// read is a revision of the release; nil when Helm's storage does not have it.
func (d *deployment) read(ctx context.Context, s seen, version int) (*stored, error) {
	var found *release.Release
	err := d.survive(ctx, func() (err error) {
		found, err = d.storage(s).Get(fmt.Sprintf("sh.helm.release.v1.%s.v%d", d.App.Name, version))
		return err
	})
	if errors.Is(err, driver.ErrReleaseNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read revision %d of release %s: %w", version, d.App.Name, err)
	}
	return d.storedOf(found)
}

// pending is the revision that Flux is working on, if it is ours and later than
// one.
func (d *deployment) pending(s seen, after int) (*stored, error) {
	for _, status := range []release.Status{release.StatusPendingInstall, release.StatusPendingUpgrade} {
		found, err := d.storage(s).Query(map[string]string{"name": d.App.Name, "owner": "helm", "status": status.String()})
		if errors.Is(err, driver.ErrReleaseNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read release %s: %w", d.App.Name, err)
		}
		for _, r := range found {
			if r.Version > after && d.isWanted(r) {
				return d.storedOf(r)
			}
		}
	}
	return nil, nil
}

// newest is the last revision in Helm's storage, however it ended; nil when there
// is none.
func (d *deployment) newest(s seen) (*stored, error) {
	found, err := d.storage(s).Query(map[string]string{"name": d.App.Name, "owner": "helm"})
	if errors.Is(err, driver.ErrReleaseNotFound) || err == nil && len(found) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read release %s: %w", d.App.Name, err)
	}
	return d.storedOf(slices.MaxFunc(found, func(a, b *release.Release) int { return a.Version - b.Version }))
}

// isWanted reports a revision that is made from our chart and values.
func (d *deployment) isWanted(r *release.Release) bool {
	if version := r.Chart.Metadata.Version; strings.Contains(version, "+") && !isOf(version, d.Chart.Digest) {
		return false
	}
	made, err := deployvalues.Digest(r.Config)
	if err != nil {
		return false
	}
	wanted, err := deployvalues.Digest(d.Values)
	return err == nil && made == wanted
}

func (d *deployment) storedOf(r *release.Release) (*stored, error) {
	objects, err := manifest.Parse(r.Manifest)
	if err != nil {
		return nil, fmt.Errorf("revision %d of release %s: %w", r.Version, r.Name, err)
	}
	workloads, err := rollout.Workloads(objects, d.Namespace)
	if err != nil {
		return nil, fmt.Errorf("revision %d of release %s: %w", r.Version, r.Name, err)
	}
	return &stored{version: r.Version, objects: objects, workloads: workloads, hasHooks: len(r.Hooks) > 0}, nil
}

// standing is what is in force: the newest revision that Flux knows of, or what
// another tool installed under the name, which Flux takes over.
func (d *deployment) standing(ctx context.Context, s seen) (standing, error) {
	if !s.exists() || s.revision() == 0 {
		return d.installed(s)
	}
	now := standing{revision: s.revision(), chart: s.inForce()}
	r, err := d.read(ctx, s, now.revision)
	if err != nil || r == nil {
		return now, err
	}
	now.image = proof.DigestIn(r.objects, d.Image)
	return now, nil
}

// installed is the revision that Helm's storage has as deployed.
func (d *deployment) installed(s seen) (standing, error) {
	found, err := d.storage(s).Query(map[string]string{"name": d.App.Name, "owner": "helm", "status": release.StatusDeployed.String()})
	if errors.Is(err, driver.ErrReleaseNotFound) || err == nil && len(found) == 0 {
		return standing{}, nil
	}
	if err != nil {
		return standing{}, fmt.Errorf("read release %s: %w", d.App.Name, err)
	}
	r, err := d.storedOf(found[0])
	if err != nil {
		return standing{}, err
	}
	return standing{revision: r.version, image: proof.DigestIn(r.objects, d.Image)}, nil
}
