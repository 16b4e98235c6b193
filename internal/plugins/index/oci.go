package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// titleAnnotation is the file name of a layer, as oras and others write it.
const titleAnnotation = "org.opencontainers.image.title"

func ociLocation(reference string) location {
	return location{fetch: func(ctx context.Context, o fetching) (tree, error) {
		files, err := pull(ctx, reference, o.store)
		return files, pullFailed(ctx, reference, err)
	}}
}

// pull reads an artifact that has one layer per file.
func pull(ctx context.Context, reference string, s *Store) (tree, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, protocol.Invalid("oci://%s: %w", reference, err)
	}
	host, _, _ := strings.Cut(ref.Context().RegistryStr(), ":")
	guard := &auth.Guard{Host: ref.Context().RegistryStr(), Inner: s.transport(host)}
	image, err := remote.Image(ref, auth.Through(guard, remote.WithContext(ctx),
		remote.WithRetryBackoff(remote.Backoff{Duration: 200 * time.Millisecond, Factor: 3, Steps: 3}))...)
	if err != nil {
		return nil, err
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
		return err
	}
	defer content.Close()
	data, err := io.ReadAll(io.LimitReader(content, limitOf(file)+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return files.add(file, data)
}

// pullFailed gives the error of a registry its exit status.
func pullFailed(ctx context.Context, reference string, err error) error {
	var answer *transport.Error
	var refused *auth.PlainRefused
	var large *tooLarge
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &large):
		return err
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return (&protocol.Error{Code: protocol.ExitFailed, Err: answer}).WithHint("log in with docker login, or set HARMONY_REGISTRY_USERNAME and HARMONY_REGISTRY_PASSWORD_FILE along with HARMONY_REGISTRY")
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return fmt.Errorf("artifact oci://%s does not exist: %w", reference, answer)
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode >= http.StatusInternalServerError):
		return protocol.Retryable("%w", answer)
	}
	var network interface{ Timeout() bool }
	if errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) {
		return protocol.Retryable("%w", err)
	}
	return err
}
