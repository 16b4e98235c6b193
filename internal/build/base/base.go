// Package base reads base images from their registries and keeps what it read
// in a cache, by digest. The cache is not trusted: what is used from it is
// compared with its digest every time.
package base

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Image is an image in a registry, for one platform. Its layers are fetched when
// they are needed.
type Image struct {
	Repository name.Repository
	// Insecure is set when its registry may be reached by plain http.
	Insecure bool
	Config   dockerspec.DockerOCIImage
	Layers   []ocilayout.Layer
}

// Registry reads base images of any registry.
type Registry struct {
	// Cache is a folder, which need not exist.
	Cache string
	// Insecure is the registry that may be reached by plain http although it is
	// not on the loopback; none when empty.
	Insecure string
}

// maxManifest and maxConfig bound what is read into memory, and maxLayer what is
// written to disk.
const (
	maxManifest = 4 << 20
	maxConfig   = 8 << 20
	maxLayer    = 64 << 30
)

func (r Registry) insecure(at name.Repository) bool { return at.RegistryStr() == r.Insecure }

func (r Registry) parse(reference string) (name.Reference, error) {
	ref, err := name.ParseReference(reference)
	if err == nil && r.insecure(ref.Context()) {
		ref, err = name.ParseReference(reference, name.Insecure)
	}
	if err != nil {
		return nil, protocol.Invalid("%w", err)
	}
	return ref, nil
}

// Digest is the digest of the manifest or index that a reference stands for now. A tag
// is looked up each time; a digest needs no registry.
func (r Registry) Digest(ctx context.Context, reference string) (digest.Digest, error) {
	ref, err := r.parse(reference)
	if err != nil {
		return "", err
	}
	sum, err := r.lookUp(ctx, ref)
	if err != nil {
		return "", fmt.Errorf("%s: %w", reference, err)
	}
	return sum, nil
}

// Resolve finds the image of a reference for a platform; an image of a single platform
// may be of another, see [Image.Fits]. If sum is not empty it is what the reference
// stands for. What a digest names is read once.
func (r Registry) Resolve(ctx context.Context, reference string, sum digest.Digest, platform ocispec.Platform) (*Image, error) {
	ref, err := r.parse(reference)
	if err != nil {
		return nil, err
	}
	image, err := r.resolve(ctx, ref, sum, platform)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", reference, err)
	}
	return image, nil
}

// Platforms are those of the images that a reference stands for, without
// attestations. sum is the digest of the reference.
func (r Registry) Platforms(ctx context.Context, reference string, sum digest.Digest) ([]ocispec.Platform, error) {
	ref, err := r.parse(reference)
	if err != nil {
		return nil, err
	}
	data, err := r.manifest(ctx, ref.Context(), sum)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", reference, err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("%s: manifest: %w", reference, err)
	}
	if len(index.Manifests) == 0 {
		image, err := r.image(ctx, ref.Context(), data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", reference, err)
		}
		return []ocispec.Platform{image.Config.Platform}, nil
	}
	var found []ocispec.Platform
	for _, m := range index.Manifests {
		if m.Platform != nil && m.Platform.OS != "unknown" {
			found = append(found, *m.Platform)
		}
	}
	return found, nil
}

// MayBePlain reports whether a registry may be reached by plain http.
func (r Registry) MayBePlain(registry string) bool {
	return registry == r.Insecure || auth.IsLoopback(registry)
}

func (r Registry) resolve(ctx context.Context, ref name.Reference, sum digest.Digest, platform ocispec.Platform) (_ *Image, err error) {
	if sum == "" {
		if sum, err = r.lookUp(ctx, ref); err != nil {
			return nil, err
		}
	}
	data, err := r.manifest(ctx, ref.Context(), sum)
	if err != nil {
		return nil, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if len(index.Manifests) > 0 {
		if sum, err = choose(index.Manifests, platform); err != nil {
			return nil, protocol.Invalid("%w", err)
		}
		if data, err = r.manifest(ctx, ref.Context(), sum); err != nil {
			return nil, err
		}
	}
	return r.image(ctx, ref.Context(), data)
}

func (r Registry) lookUp(ctx context.Context, ref name.Reference) (digest.Digest, error) {
	if pinned, ok := ref.(name.Digest); ok {
		sum := digest.Digest(pinned.DigestStr())
		return sum, sum.Validate()
	}
	// HEAD is not counted by registries that ration downloads; not all of them
	// answer it with a digest.
	head, err := remote.Head(ref, auth.Options(ctx, ref.Context(), r.insecure(ref.Context()))...)
	if err == nil {
		return digest.Digest(head.Digest.String()), nil
	}
	if errors.As(err, new(*protocol.Error)) {
		return "", err // it did not answer, and would not answer GET
	}
	got, err := remote.Get(ref, auth.Options(ctx, ref.Context(), r.insecure(ref.Context()))...)
	if err != nil {
		return "", classify(err)
	}
	return digest.Digest(got.Digest.String()), nil
}

func (r Registry) manifest(ctx context.Context, repository name.Repository, sum digest.Digest) (data []byte, err error) {
	err = r.use(ctx, sum, func(w io.Writer) error {
		// The digest of the answer is compared.
		got, err := remote.Get(repository.Digest(sum.String()), auth.Options(ctx, repository, r.insecure(repository))...)
		if err != nil {
			return classify(err)
		}
		_, err = w.Write(got.Manifest)
		return err
	}, whole(&data, maxManifest))
	return data, err
}

// whole reads all of a blob, if it is not too large.
func whole(data *[]byte, limit int64) func(io.Reader) error {
	return func(in io.Reader) (err error) {
		*data, err = io.ReadAll(io.LimitReader(in, limit+1))
		if err == nil && int64(len(*data)) > limit {
			err = fmt.Errorf("is larger than %d bytes", limit)
		}
		return err
	}
}

// image reads the configuration of a manifest.
func (r Registry) image(ctx context.Context, repository name.Repository, data []byte) (*Image, error) {
	var manifest ocispec.Manifest
	if err := json.Unmarshal(data, &manifest); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if manifest.Config.Size > maxConfig {
		return nil, fmt.Errorf("configuration: is larger than %d bytes", maxConfig)
	}
	b := &Image{Repository: repository, Insecure: r.MayBePlain(repository.RegistryStr())}
	var config []byte
	if err := r.Read(ctx, repository, manifest.Config, whole(&config, maxConfig)); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if err := json.Unmarshal(config, &b.Config); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	ids := b.Config.RootFS.DiffIDs
	if len(ids) != len(manifest.Layers) {
		return nil, fmt.Errorf("manifest has %d layers, configuration %d", len(manifest.Layers), len(ids))
	}
	for i, l := range manifest.Layers {
		mediaType, err := layerType(l.MediaType)
		if err != nil {
			return nil, err
		}
		if l.Size > maxLayer {
			return nil, fmt.Errorf("layer %s has %d bytes; the limit is %d", l.Digest, l.Size, int64(maxLayer))
		}
		desc := ocispec.Descriptor{MediaType: mediaType, Digest: l.Digest, Size: l.Size}
		b.Layers = append(b.Layers, ocilayout.Layer{Descriptor: desc, DiffID: ids[i]})
	}
	return b, nil
}

func layerType(mediaType string) (string, error) {
	switch types.MediaType(mediaType) {
	case types.OCILayer, types.DockerLayer:
		return ocispec.MediaTypeImageLayerGzip, nil
	case types.OCILayerZStd:
		return ocispec.MediaTypeImageLayerZstd, nil
	case types.OCIUncompressedLayer, types.DockerUncompressedLayer:
		return ocispec.MediaTypeImageLayer, nil
	}
	return "", protocol.Unsupported("layer type %s is not supported", mediaType)
}

// classify gives an error of a registry its exit status.
func classify(err error) error {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, new(*protocol.Error)):
		return err
	case auth.HasStatus(err, http.StatusNotFound):
		return protocol.Invalid("%w", err)
	case auth.HasStatus(err, http.StatusUnauthorized, http.StatusForbidden):
		return (&protocol.Error{Code: protocol.ExitFailed, Err: err}).WithHint("the image may not exist, or needs a login: docker login or crane auth login")
	}
	return auth.Classify(err)
}

// choose picks the best manifest for a platform in an index. One without a platform
// may be for any.
func choose(manifests []ocispec.Descriptor, want ocispec.Platform) (digest.Digest, error) {
	fit := platforms.Only(want)
	var best *ocispec.Descriptor
	var has []string
	for i, m := range manifests {
		switch {
		case m.Platform == nil:
			if best == nil {
				best = &manifests[i]
			}
		case m.Platform.OS == "unknown": // attestations
		case !fit.Match(*m.Platform):
			has = append(has, ocilayout.PlatformString(*m.Platform))
		case best == nil || best.Platform == nil || fit.Less(*m.Platform, *best.Platform):
			best = &manifests[i]
		}
	}
	if best != nil {
		return best.Digest, best.Digest.Validate()
	}
	slices.Sort(has)
	return "", fmt.Errorf("has no image for %s (it has %s)", ocilayout.PlatformString(want), strings.Join(slices.Compact(has), ", "))
}

// Fits reports whether the image can run on a platform. One that names none may run
// anywhere.
func (i *Image) Fits(want ocispec.Platform) bool {
	has := i.Config.Platform
	has.OS, has.Architecture = cmp.Or(has.OS, want.OS), cmp.Or(has.Architecture, want.Architecture)
	return platforms.Only(want).Match(has)
}
