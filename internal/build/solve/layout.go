package solve

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/content"
	contentlocal "github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/ocilayout"
)

// ToLayout builds the image into a draft, which the caller commits with the
// descriptor that it returns, or discards. Export of the options is ignored.
// Every blob is verified against its digest before it is kept.
func ToLayout(ctx context.Context, c *client.Client, r build.Request, o Options, draft *ocilayout.Draft) (ocispec.Descriptor, error) {
	dir, err := draft.Dir()
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	dir = filepath.Join(dir, "received")
	store, err := contentlocal.NewStore(dir)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	o.Export = client.ExportEntry{
		Type: client.ExporterOCI, OutputStore: store,
		Attrs: map[string]string{"tar": "false", string(exptypes.OptKeyOCITypes): "true"},
	}
	made, err := Image(ctx, c, r, o)
	if err != nil {
		return made.Descriptor, err
	}
	if made.Descriptor.Digest == "" {
		return made.Descriptor, fmt.Errorf("the builder does not tell what it made: %v", made.Response)
	}
	return made.Descriptor, store.Walk(ctx, func(blob content.Info) error {
		if err := blob.Digest.Validate(); err != nil {
			return err
		}
		return draft.AddBlob(blob.Digest, filepath.Join(dir, ocispec.ImageBlobsDir, blob.Digest.Algorithm().String(), blob.Digest.Encoded()))
	})
}
