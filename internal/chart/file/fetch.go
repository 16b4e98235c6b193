// Package file fetches the packaged chart of a release, unpacks it, renders it, and
// checks whether it uses the image.
package file

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Layer is the media type of the chart's archive.
const Layer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

// MaxArchive bounds a chart's archive, in bytes; what it unpacks to is bounded
// by Helm's loader.
const MaxArchive = 20 << 20

// Fetch reads the chart's archive and verifies it against the digest.
func Fetch(ctx context.Context, ref protocol.ChartRef) ([]byte, error) {
	if ref.Path != "" {
		return readArchive(ref.Path, ref.Digest)
	}
	archive, err := pullArchive(ctx, ref)
	if err != nil {
		return nil, pullError(ref, err)
	}
	return archive, nil
}

// readArchive reads an archive on this machine; digest is that of the file.
func readArchive(path, digest string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, protocol.Invalid("chart: %w", err)
	}
	defer file.Close()
	archive, err := ReadAtMost(file, MaxArchive)
	if err != nil {
		return nil, protocol.Invalid("chart %s: %w", path, err)
	}
	sum := sha256.Sum256(archive)
	if found := "sha256:" + hex.EncodeToString(sum[:]); found != digest {
		return nil, protocol.Invalid("chart %s has the digest %s, not %s", path, found, digest).
			WithHint("publish it again")
	}
	return archive, nil
}

// pullArchive reads an archive from a registry; the digest is that of the
// manifest, and the library verifies it and the layer's.
func pullArchive(ctx context.Context, ref protocol.ChartRef) ([]byte, error) {
	repository, ok := strings.CutPrefix(ref.URL, "oci://")
	if !ok {
		return nil, protocol.Invalid("it is not an oci:// URL")
	}
	digest, err := name.NewDigest(repository+"@"+ref.Digest, auth.Naming(ref.Insecure)...)
	if err != nil {
		return nil, protocol.Invalid("%w", err)
	}
	image, err := remote.Image(digest, auth.Options(ctx, digest, ref.Insecure)...)
	if err != nil {
		return nil, err
	}
	layer, err := ArchiveLayer(image)
	if err != nil {
		return nil, err
	}
	content, err := layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	return ReadAtMost(content, MaxArchive)
}

// ArchiveLayer is the one layer with the chart; there may be a provenance file in
// another.
func ArchiveLayer(image v1.Image) (v1.Layer, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return nil, err
	}
	var found []v1.Hash
	for _, layer := range manifest.Layers {
		if layer.MediaType == Layer {
			found = append(found, layer.Digest)
		}
	}
	if len(found) != 1 {
		return nil, protocol.Invalid("it has %d layers of type %s instead of one: it is not a Helm chart", len(found), Layer)
	}
	return image.LayerByDigest(found[0])
}

// ReadAtMost reads all of r, which is an error when that is more than the limit.
func ReadAtMost(r io.Reader, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("is over %d MiB", limit>>20)
	}
	return data, err
}

// pullError says which chart it was, and whether it is worth trying again.
func pullError(ref protocol.ChartRef, err error) error {
	var answer *transport.Error
	var network net.Error
	failed := fmt.Errorf("pull chart %s@%s: %w", ref.URL, ref.Digest, err)
	switch {
	case protocol.ExitCode(err) != protocol.ExitFailed:
		return failed
	case errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF):
		return protocol.Retryable("%w", failed).WithHint("is the registry running, and reachable from here?")
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode >= http.StatusInternalServerError):
		return protocol.Retryable("%w", failed)
	}
	return failed
}

// Load unpacks an archive that can be installed.
func Load(archive []byte) (*chart.Chart, error) {
	loaded, err := loader.LoadArchive(bytes.NewReader(archive))
	if err != nil {
		return nil, protocol.Invalid("chart: %w", err)
	}
	if err := loaded.Validate(); err != nil {
		return nil, protocol.Invalid("chart %q: %w", loaded.Name(), err)
	}
	if loaded.Metadata.Type == "library" {
		return nil, protocol.Invalid("chart %q is a library, which cannot be installed", loaded.Name())
	}
	return loaded, nil
}
