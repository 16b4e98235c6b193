// Package upstream fetches charts that others publish: of a version, to pin it in
// harmony.lock, and by the digest in there, to release it.
package upstream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/internal/cli/atomicfile"
	"github.com/nationtech/harmony/internal/cli/cachedir"
	"github.com/nationtech/harmony/internal/plugins/download"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// provenanceLayer is the media type of a provenance file.
const provenanceLayer = "application/vnd.cncf.helm.chart.provenance.v1.prov"

// The largest provenance file and index that are read, in bytes. Some repositories
// list thousands of versions.
const (
	maxProvenance = 1 << 20
	maxIndex      = 64 << 20
)

// Chart is what a registry or repository has of a chart.
type Chart struct {
	// Archive is the .tgz.
	Archive []byte
	// URL is the address of the archive in an https repository, else "".
	URL string
	// Provenance is the provenance file, or nil if it is missing or was not asked for.
	Provenance []byte
}

// Digest is that of the archive: sha256:…
func (c Chart) Digest() string { return digestOf(c.Archive) }

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Title names the chart for people.
func Title(source protocol.ChartSource) string {
	return "chart " + source.PublishedName() + " " + source.Version + " of " + source.URL
}

// Find fetches the chart of the version as it is published now, with its provenance
// file where the source has a keyring.
func Find(ctx context.Context, source protocol.ChartSource) (Chart, error) {
	find := findInRepository
	if strings.HasPrefix(source.URL, "oci://") {
		find = findInRegistry
	}
	found, err := find(ctx, source)
	if err != nil {
		return Chart{}, failed(ctx, source, err)
	}
	return found, nil
}

// Fetch is the archive with the digest that is locked: from the cache of this machine,
// else from where it is published. Whatever has another digest is refused.
func Fetch(ctx context.Context, source protocol.ChartSource) ([]byte, error) {
	if source.Locked == nil {
		return nil, protocol.Invalid("%s is not in harmony.lock", Title(source)).WithHint("run harmony lock, and commit harmony.lock")
	}
	want := source.Locked.Digest
	kept := keptAt(want)
	if archive, err := os.ReadFile(kept); err == nil && digestOf(archive) == want {
		return archive, nil
	}
	fetch := fetchFromRepository
	if strings.HasPrefix(source.URL, "oci://") {
		fetch = fetchFromRegistry
	}
	archive, err := fetch(ctx, source)
	if err != nil {
		return nil, failed(ctx, source, err)
	}
	if is := digestOf(archive); is != want {
		differs := &protocol.Error{Code: protocol.ExitFailed, Err: fmt.Errorf("%s has the digest %s, and harmony.lock has %s", Title(source), is, want)}
		return nil, differs.WithHint("somebody replaced it; if that is right: harmony lock --update")
	}
	Keep(archive)
	return archive, nil
}

// Keep puts an archive into the cache, where [Fetch] finds it by its digest. It may
// fail to.
func Keep(archive []byte) {
	if kept := keptAt(digestOf(archive)); kept != "" {
		_ = atomicfile.Write(kept, archive, 0o600) // it is fetched again otherwise
	}
}

// keptAt is where the cache has an archive; "" without a cache.
func keptAt(digest string) string {
	folder := cachedir.In("upstream")
	if folder == "" {
		return ""
	}
	return filepath.Join(folder, strings.TrimPrefix(digest, "sha256:")+".tgz")
}

// failed says which chart it was.
func failed(ctx context.Context, source protocol.ChartSource, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &protocol.Error{Code: protocol.ExitCode(err), Message: Title(source), Err: err, Hint: protocol.HintOf(err)}
}

// findInRegistry takes the chart that the version's tag names.
func findInRegistry(ctx context.Context, source protocol.ChartSource) (Chart, error) {
	tag, err := name.NewTag(strings.TrimPrefix(source.URL, "oci://")+":"+protocol.TagOf(source.Version), auth.Naming(false)...)
	if err != nil {
		return Chart{}, protocol.Invalid("%w", err)
	}
	image, err := remote.Image(tag, auth.Options(ctx, tag, false)...)
	if err != nil {
		return Chart{}, download.Failed(err)
	}
	layer, err := file.ArchiveLayer(image)
	if err != nil {
		return Chart{}, err
	}
	var found Chart
	if found.Archive, err = contents(layer, file.MaxArchive); err != nil {
		return Chart{}, err
	}
	if source.Keyring != "" {
		found.Provenance, err = provenanceIn(image)
	}
	return found, err
}

func provenanceIn(image v1.Image) ([]byte, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return nil, err
	}
	for _, descriptor := range manifest.Layers {
		if descriptor.MediaType != provenanceLayer {
			continue
		}
		layer, err := image.LayerByDigest(descriptor.Digest)
		if err != nil {
			return nil, err
		}
		return contents(layer, maxProvenance)
	}
	return nil, nil
}

// contents are the bytes of a layer, which the library holds to its digest.
func contents(layer v1.Layer, limit int64) ([]byte, error) {
	from, err := layer.Compressed()
	if err != nil {
		return nil, download.Failed(err)
	}
	defer from.Close()
	data, err := file.ReadAtMost(from, limit)
	if err != nil {
		return nil, download.Failed(err)
	}
	return data, nil
}

// fetchFromRegistry takes the archive by its own digest, wherever the tag leads now.
func fetchFromRegistry(ctx context.Context, source protocol.ChartSource) ([]byte, error) {
	ref, err := name.NewDigest(strings.TrimPrefix(source.URL, "oci://")+"@"+source.Locked.Digest, auth.Naming(false)...)
	if err != nil {
		return nil, protocol.Invalid("%w", err)
	}
	layer, err := remote.Layer(ref, auth.Options(ctx, ref, false)...)
	if err != nil {
		return nil, download.Failed(err)
	}
	return contents(layer, file.MaxArchive)
}

// archiveName is the file name of the archive, which its provenance file tells.
func (c Chart) archiveName(source protocol.ChartSource) string {
	if c.URL == "" {
		return source.PublishedName() + "-" + source.Version + ".tgz"
	}
	return path.Base(pathOf(c.URL))
}
