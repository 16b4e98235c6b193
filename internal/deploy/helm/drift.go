package helm

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/internal/cluster/drift"
	"github.com/nationtech/harmony/internal/cluster/manifest"
)

// drift names the objects of the revision that are gone or that somebody
// changed, so that an upgrade would mend them. Fields of the JSON pointers are
// left out.
func (d *deployment) drift(ctx context.Context, r *release.Release, ignore ...string) ([]string, error) {
	objects, err := manifest.Parse(r.Manifest)
	if err != nil {
		return nil, fmt.Errorf("read the objects of release %s: %w", d.app.Name, err)
	}
	client, err := dynamic.NewForConfig(d.Config)
	if err != nil {
		return nil, err
	}
	return drift.Finder{Dynamic: client, Mapper: d.mapper, Namespace: d.Namespace, Ignore: ignore}.Find(ctx, objects)
}
