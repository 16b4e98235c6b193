package oci

import (
	"cmp"
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nationtech/harmony/internal/chart"
	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The media types of a chart, from helm.sh/helm/v3/pkg/registry, which would
// bring a second registry client with it.
const (
	chartConfigType types.MediaType = "application/vnd.cncf.helm.config.v1+json"
	chartLayerType  types.MediaType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

type chartRegistry struct {
	*client
	pack chart.Packer
}

// NewHelmRegistry makes the HelmRegistry of a topology, for the charts that pack
// makes. A topology that names no registry is an error of status
// protocol.ExitUnsupported.
func NewHelmRegistry(flags *publish.Flags, pack chart.Packer) capability.Adapter[capability.HelmRegistry] {
	return func(_ context.Context, env capability.Environment) (capability.HelmRegistry, error) {
		c, err := newClient(env, "spec.helmRegistry", flags)
		return chartRegistry{c, pack}, err
	}
}

// PushChart implements [capability.HelmRegistry]. helm pull reads what it
// pushes.
func (r chartRegistry) PushChart(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ChartRef, error) {
	packed, err := r.flags.Pack(ctx, r.env, r.pack, app, image)
	if err != nil {
		return protocol.ChartRef{}, err
	}
	path := r.path(packed.Name)
	tag, err := r.tag(path, cmp.Or(packed.Tag, packed.Version))
	if err != nil {
		return protocol.ChartRef{}, err
	}
	ref := protocol.ChartRef{
		Metadata: app.Metadata,
		URL:      "oci://" + r.host + "/" + path,
		Chart:    packed.Name, ChartVersion: packed.Version,
		Image: packed.Image, Images: packed.Images, Pinned: packed.Pinned, Planned: r.env.DryRun,
		Insecure: r.guard.MayBePlain(),
	}
	if len(packed.Archive) == 0 {
		return ref, nil
	}
	content, err := chartArtifact(packed)
	if err != nil {
		return protocol.ChartRef{}, err
	}
	ref.Digest = content.root().descriptor.Digest.String()
	if ref.Unchanged, err = r.published(ctx, tag, packed.Version, ref.Digest); err != nil {
		return protocol.ChartRef{}, publish.ChartMoved(app, image, err)
	}
	if !ref.Unchanged && !r.env.DryRun {
		if _, err := r.push(ctx, app.Metadata, tag, content); err != nil {
			return protocol.ChartRef{}, err
		}
	}
	ref.Insecure = r.guard.Plain()
	return ref, nil
}

// chartArtifact is the chart as helm push makes it.
func chartArtifact(c chart.Chart) (artifact, error) {
	config, archive := memoryBlob(chartConfigType, c.Config), memoryBlob(chartLayerType, c.Archive)
	root, err := memoryManifest(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        config.descriptor,
		Layers:        []v1.Descriptor{archive.descriptor},
		Annotations:   c.Annotations,
	})
	return artifact{manifests: []manifest{root}, blobs: []blob{config, archive}}, err
}
