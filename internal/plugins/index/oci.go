package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/plugins/download"
	"github.com/nationtech/harmony/pkg/protocol"
)

// titleAnnotation is the file name of a layer, as oras and others write it.
const titleAnnotation = "org.opencontainers.image.title"

func ociLocation(reference string) location {
	return location{fetch: func(ctx context.Context, o fetching) (files tree, err error) {
		err = download.Retry(ctx, func() (err error) {
			files, err = pull(ctx, reference, o.store)
			return err
		})
		if errors.As(err, &download.Missing{}) {
			err = fmt.Errorf("artifact oci://%s does not exist: %w", reference, err)
		}
		return files, err
	}}
}

// pull reads an artifact that has one layer per file.
func pull(ctx context.Context, reference string, s *Store) (tree, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, protocol.Invalid("oci://%s: %w", reference, err)
	}
	host, _, _ := strings.Cut(ref.Context().RegistryStr(), ":")
	image, err := remote.Image(ref, download.Registry(ctx, ref.Context(), s.transport(host))...)
	if err != nil {
		return nil, download.Failed(err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		return nil, err
	}
	if len(manifest.Layers) > maxFiles {
		return nil, fmt.Errorf("it has more than %d files", maxFiles)
	}
	files := tree{}
	for _, layer := range manifest.Layers {
		if err := addLayer(files, image, layer); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func addLayer(files tree, image v1.Image, about v1.Descriptor) error {
	file := about.Annotations[titleAnnotation]
	if !belongs(file) {
		return fmt.Errorf("layer %s: %q is not the name of a manifest, such as fleet.yaml or fleet@1.4.0.yaml", about.Digest, file)
	}
	if about.Size > limitOf(file) {
		return &tooLarge{file, limitOf(file)}
	}
	layer, err := image.LayerByDigest(about.Digest)
	if err != nil {
		return err
	}
	content, err := layer.Compressed() // verified against the digest while it is read
	if err != nil {
		return download.Failed(err)
	}
	defer content.Close()
	data, err := io.ReadAll(io.LimitReader(content, limitOf(file)+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", file, download.Failed(err))
	}
	return files.add(file, data)
}
