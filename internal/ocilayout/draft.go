package ocilayout

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/cli/atomicfile"
)

// Layer is a layer whose blob is in a draft.
type Layer struct {
	// Descriptor of the compressed blob.
	Descriptor ocispec.Descriptor
	// DiffID is the digest of the uncompressed layer.
	DiffID digest.Digest
}

// Draft is an unfinished layout folder. Several goroutines may call WriteLayer and
// Dir at a time.
type Draft struct {
	// Annotations go into the manifests of images.
	Annotations map[string]string

	dir, app  string
	store     Store
	elsewhere map[digest.Digest]Place
}

func (d *Draft) blob(sum digest.Digest) string {
	return filepath.Join(d.dir, ocispec.ImageBlobsDir, string(sum.Algorithm()), sum.Encoded())
}

// WriteLayer packs the entries into a layer, with created as the time of all of
// them.
func (d *Draft) WriteLayer(ctx context.Context, entries []Entry, created time.Time) (_ Layer, err error) {
	f, err := os.CreateTemp(d.dir, "layer-*")
	if err != nil {
		return Layer{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	layer, err := compress(f, d.store.level(), func(w io.Writer) error {
		tarred := bufio.NewWriterSize(w, 256<<10)
		return cmp.Or(WriteTar(ctx, tarred, entries, created), tarred.Flush())
	})
	if err != nil {
		return Layer{}, fmt.Errorf("pack layer: %w", err)
	}
	return layer, os.Rename(f.Name(), d.blob(layer.Descriptor.Digest))
}

// AddBlob adds a blob from a file, as a hard link if possible. The caller has verified
// its digest.
func (d *Draft) AddBlob(sum digest.Digest, path string) error {
	target := d.blob(sum)
	err := os.Link(path, target)
	if err == nil || errors.Is(err, os.ErrExist) {
		return nil
	}
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	return atomicfile.Stream(target, 0o600, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

// AddImage writes the image's configuration, with the layers filled in, and its
// manifest.
func (d *Draft) AddImage(config dockerspec.DockerOCIImage, layers []Layer) (ocispec.Descriptor, error) {
	config.RootFS = ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}
	manifest := ocispec.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   ocispec.MediaTypeImageManifest,
		Layers:      []ocispec.Descriptor{},
		Annotations: d.Annotations,
	}
	for _, l := range layers {
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, l.DiffID)
		manifest.Layers = append(manifest.Layers, l.Descriptor)
	}
	var err error
	if manifest.Config, err = d.addJSON(ocispec.MediaTypeImageConfig, config); err != nil {
		return ocispec.Descriptor{}, err
	}
	image, err := d.addJSON(ocispec.MediaTypeImageManifest, manifest)
	image.Platform = &ocispec.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant, OSVersion: config.OSVersion, OSFeatures: config.OSFeatures}
	return image, err
}

func (d *Draft) addJSON(mediaType string, v any) (ocispec.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	return desc, os.WriteFile(d.blob(desc.Digest), data, 0o600)
}

// Commit makes the draft the layout of this input: a folder whose index.json has
// exactly one descriptor, the image or the index of several platforms. If another run
// was faster, its equal layout is kept if it is undamaged. The draft is removed, also
// after an error.
func (d *Draft) Commit(input string, images []ocispec.Descriptor) (_ Image, err error) {
	defer func() { err = errors.Join(err, d.Discard()) }()
	if len(images) == 0 {
		return Image{}, errors.New("no image to keep")
	}
	root := images[0]
	root.Platform = nil
	if len(images) > 1 {
		root, err = d.addJSON(ocispec.MediaTypeImageIndex, index(images...))
		if err != nil {
			return Image{}, err
		}
	}
	if err := d.finish(root); err != nil {
		return Image{}, err
	}
	return d.store.publish(d.dir, d.app, input, root.Digest)
}

func index(images ...ocispec.Descriptor) ocispec.Index {
	return ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: images,
	}
}

// finish writes the files that make a folder a layout.
func (d *Draft) finish(root ocispec.Descriptor) error {
	files := map[string]any{
		ocispec.ImageLayoutFile: ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion},
		ocispec.ImageIndexFile:  index(root),
	}
	if len(d.elsewhere) > 0 {
		files[elsewhereFile] = places{d.elsewhere}
	}
	for name, content := range files {
		data, err := json.Marshal(content)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(d.dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Dir is a folder for files that are needed while the image is made. It is not
// a part of the layout.
func (d *Draft) Dir() (string, error) {
	dir := filepath.Join(d.dir, scratch)
	return dir, os.MkdirAll(dir, 0o700)
}

const scratch = "scratch"

// Discard removes the draft; after Commit there is nothing to remove.
func (d *Draft) Discard() error { return os.RemoveAll(d.dir) }
