// Package charts puts Helm charts into registries, for tests.
package charts

import (
	"errors"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// configType is the media type of a chart's config.
const configType = "application/vnd.cncf.helm.config.v1+json"

// Push puts layers into a registry without TLS as a chart, under registry/repository:tag,
// and returns the digest of the manifest.
func Push(t testing.TB, reference string, layers ...v1.Layer) string {
	t.Helper()
	tag, err := name.NewTag(reference, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), configType)
	if image, err = mutate.AppendLayers(image, layers...); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err = errors.Join(err, remote.Write(tag, image, remote.WithContext(t.Context()))); err != nil {
		t.Fatal(err)
	}
	return digest.String()
}
