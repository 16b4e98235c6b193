package edge

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// pin adds the digest to every image that has none: what a device pulls later is
// what the registries hold now.
func (d *deployment) pin(ctx context.Context, objects []*unstructured.Unstructured) error {
	var loose []string
	for _, image := range manifest.Images(objects) {
		if !strings.Contains(image, "@") {
			loose = append(loose, image)
		}
	}
	if len(loose) == 0 {
		return nil
	}
	digests := make([]string, len(loose))
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, image := range loose {
		group.Go(func() (err error) {
			digests[i], err = d.digestOf(asking, image)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	pinned := map[string]string{}
	for i, image := range loose {
		pinned[image] = image + "@" + digests[i]
	}
	manifest.ReplaceImages(objects, func(image string) string {
		if with, ok := pinned[image]; ok {
			return with
		}
		return image
	})
	return nil
}

// digestOf asks the image's registry.
func (d *deployment) digestOf(ctx context.Context, image string) (string, error) {
	host, _, _ := strings.Cut(image, "/")
	insecure := d.image.Insecure && host == d.image.Registry
	ref, err := name.ParseReference(image, auth.Naming(insecure)...)
	if err != nil {
		return "", protocol.Invalid("chart %q: %w", d.chart.Chart, err)
	}
	found, err := remote.Head(ref, auth.Options(ctx, ref.Context(), insecure)...)
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", &protocol.Error{
			Code: protocol.ExitFailed, Err: fmt.Errorf("image %s of chart %q is not pinned, and its registry does not tell the digest: %w", image, d.chart.Chart, err),
			Hint: "pin it in the chart or its values: " + image + "@sha256:…",
		}
	}
	return found.Digest.String(), nil
}
