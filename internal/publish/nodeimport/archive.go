package nodeimport

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/internal/publish/saved"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// archive is an image as the files of an OCI layout. It is written again for each
// node; blobs are read, and verified, when they are written.
type archive struct {
	root   v1.Descriptor
	files  []ocilayout.Entry
	layers []saved.Layer // to be closed
}

// unreadable is the error of a blob that cannot be opened: of our bytes, and not of
// a node.
type unreadable struct{ error }

func (e *unreadable) Unwrap() error { return e.error }

func (a *archive) add(d v1.Descriptor, open func() (io.ReadCloser, error)) {
	a.files = append(a.files, ocilayout.Entry{
		Path: "blobs/" + d.Digest.Algorithm + "/" + d.Digest.Hex, Type: tar.TypeReg, Mode: 0o644, Size: d.Size,
		Open: func() (io.ReadCloser, error) {
			blob, err := open()
			if err != nil {
				return nil, &unreadable{err}
			}
			return ocilayout.Checked(blob, d), nil
		},
	})
}

// named returns the archive with the names that containerd is to give the image.
func (a archive) named(image protocol.ImageRef) (archive, error) {
	byTag, byDigest := names(image)
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, text := range []string{byTag, byDigest} {
		entry := a.root
		entry.Annotations = map[string]string{"io.containerd.image.name": text}
		index.Manifests = append(index.Manifests, entry)
	}
	data, err := json.Marshal(index)
	a.files = append(a.files, ocilayout.File("index.json", 0o644, data), ocilayout.File("oci-layout", 0o644, []byte(`{"imageLayoutVersion":"1.0.0"}`)))
	return a, err
}

// write writes the tar stream. What makes an image of the blobs comes last, so
// that a stream that breaks off makes no image.
func (a archive) write(ctx context.Context, w io.Writer) error {
	return ocilayout.WriteTar(ctx, w, a.files, time.Unix(0, 0))
}

// readLayout reads the manifests of a layout folder.
func readLayout(ctx context.Context, path, digest string) (a archive, err error) {
	content, err := ocilayout.Read(path, digest)
	if err != nil {
		return a, err
	}
	return archiveOf(ctx, content), nil
}

// readRegistry reads the manifests of an image that exists: of an index, the one for the
// nodes' platform.
func readRegistry(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (archive, error) {
	at := ocilayout.Place{Registry: image.Registry, Repository: image.Repository, Insecure: image.Insecure}
	failed := func(err error) (archive, error) { return archive{}, fmt.Errorf("read image %s: %w", image, err) }
	ref, err := name.NewDigest(image.FullName()+"@"+image.Digest, auth.Naming(image.Insecure)...)
	if err != nil {
		return archive{}, protocol.Invalid("%w", err)
	}
	puller, err := remote.NewPuller(auth.Options(ctx, ref.Context(), image.Insecure)...)
	if err != nil {
		return failed(err)
	}
	get := func(d v1.Descriptor) ([]byte, error) {
		got, err := puller.Get(ctx, ref.Context().Digest(d.Digest.String()))
		if err != nil {
			return nil, auth.Classify(err)
		}
		return got.Manifest, nil
	}
	got, err := puller.Get(ctx, ref)
	if err != nil {
		return failed(auth.Classify(err))
	}
	root := got.Descriptor
	if root.MediaType.IsIndex() {
		if root, err = choose(got, app); err != nil {
			return failed(err)
		}
	}
	content, err := ocilayout.ReadFrom(at, root, get)
	if err != nil {
		return failed(err)
	}
	return archiveOf(ctx, content), nil
}

// choose picks the manifest in an index for the app's one platform, or for that of this
// machine, on which the nodes of k3d and kind run too. For several platforms it is the
// whole index.
func choose(index *remote.Descriptor, app protocol.AppSpec) (v1.Descriptor, error) {
	if len(app.Image.Platforms) > 1 {
		return index.Descriptor, nil
	}
	platform := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	for _, text := range app.Image.Platforms {
		p, err := v1.ParsePlatform(text)
		if err != nil {
			return v1.Descriptor{}, protocol.Invalid("%w", err)
		}
		platform = *p
	}
	list, err := v1.ParseIndexManifest(bytes.NewReader(index.Manifest))
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, d := range list.Manifests {
		if d.Platform != nil && d.Platform.Satisfies(platform) {
			return d, nil
		}
	}
	return v1.Descriptor{}, protocol.Invalid("it has no image for %s", platform)
}

func archiveOf(ctx context.Context, content ocilayout.Content) (a archive) {
	blobs := content.Blobs
	for _, m := range content.Manifests {
		a.root, blobs = m.Descriptor, append(blobs, m.Descriptor)
	}
	for _, d := range blobs {
		a.add(d, func() (io.ReadCloser, error) {
			if at, away := content.Place(d); away {
				return fetch(ctx, at, d)
			}
			return content.Open(d)
		})
	}
	return a
}

// fetch takes a blob out of the registry that has it.
func fetch(ctx context.Context, at ocilayout.Place, d v1.Descriptor) (io.ReadCloser, error) {
	reference, err := name.NewDigest(at.Registry+"/"+at.Repository+"@"+d.Digest.String(), auth.Naming(at.Insecure)...)
	if err != nil {
		return nil, protocol.Invalid("%w", err)
	}
	layer, err := remote.Layer(reference, auth.Options(ctx, reference, at.Insecure)...)
	if err != nil {
		return nil, fmt.Errorf("fetch layer %s: %w", reference, err)
	}
	return layer.Compressed()
}

// export takes an image out of a daemon. The caller closes the archive, also after
// an error.
func (r *registry) export(ctx context.Context, image protocol.ImageRef) (a archive, err error) {
	r.env.Progress(protocol.Event{Metadata: image.Metadata, Phase: "import", Message: "exporting the image from the daemon"})
	if err := os.MkdirAll(r.env.Cache, 0o700); err != nil {
		return a, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("export the image of %s from the daemon: %w", image.Name, err)
		}
	}()
	stream, err := saved.Open(ctx, image)
	if err != nil {
		return a, err
	}
	defer stream.Close()
	content := saved.New(r.env.Cache)
	err = content.Read(ctx, stream, func(l saved.Layer) {
		a.layers = append(a.layers, l)
		a.add(l.Descriptor, func() (io.ReadCloser, error) { return l.Open(), nil })
	})
	if err != nil {
		return a, err
	}
	m, config, err := content.Manifest(image)
	if err != nil {
		return a, err
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return a, err
	}
	a.root = v1.Descriptor{MediaType: m.MediaType}
	a.root.Digest, a.root.Size, err = v1.SHA256(bytes.NewReader(raw))
	a.add(m.Config, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(config)), nil })
	a.add(a.root, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil })
	saved.InCache(r.env.Cache).Remember(image, a.root.Digest.String())
	return a, err
}

func (a archive) close() {
	for _, l := range a.layers {
		_ = l.Close() // only read
	}
}
