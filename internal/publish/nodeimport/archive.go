package nodeimport

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/internal/publish/saved"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// archive is an image as a tar stream of an OCI layout, with the names that
// containerd is to give it. It is written again for each node.
type archive struct {
	content ocilayout.Content
	index   []byte
	blobs   []v1.Descriptor
}

// readArchive reads the manifests of a layout folder; blobs are read, and
// verified, when they are written.
func readArchive(path string, image protocol.ImageRef) (archive, error) {
	content, err := ocilayout.Read(path, image.Digest)
	if err != nil {
		return archive{}, err
	}
	a := archive{content: content, blobs: content.Blobs}
	for _, m := range content.Manifests {
		a.blobs = append(a.blobs, m.Descriptor)
	}
	root := content.Manifests[len(content.Manifests)-1].Descriptor
	byTag, byDigest := names(image)
	named := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, text := range []string{byTag, byDigest} {
		entry := root
		entry.Annotations = map[string]string{"io.containerd.image.name": text}
		named.Manifests = append(named.Manifests, entry)
	}
	a.index, err = json.Marshal(named)
	return a, err
}

// unreadable is the error of an archive that cannot be written: of our bytes,
// and not of a node.
type unreadable struct{ error }

func (e *unreadable) Unwrap() error { return e.error }

// write writes the tar stream. What makes an image of the blobs comes last, so
// that a stream that breaks off makes no image.
func (a archive) write(ctx context.Context, w io.Writer) error {
	out := tar.NewWriter(w)
	file := func(path string, size int64) error {
		return out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: 0o644, Size: size})
	}
	for _, d := range a.blobs {
		if err := file("blobs/"+d.Digest.Algorithm+"/"+d.Digest.Hex, d.Size); err != nil {
			return err
		}
		if err := a.copyBlob(ctx, out, d); err != nil {
			return err
		}
	}
	for _, last := range []struct {
		path string
		data []byte
	}{{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {"index.json", a.index}} {
		if err := file(last.path, int64(len(last.data))); err != nil {
			return err
		}
		if _, err := out.Write(last.data); err != nil {
			return err
		}
	}
	return out.Close()
}

// copyBlob copies one and fails when it is not what its descriptor says.
func (a archive) copyBlob(ctx context.Context, w io.Writer, d v1.Descriptor) error {
	blob, err := a.open(ctx, d)
	if err != nil {
		return &unreadable{err}
	}
	checked := ocilayout.Checked(blob, d)
	defer checked.Close()
	_, err = io.Copy(w, checked)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, new(*ocilayout.Corrupt)):
		broken := &protocol.Error{Code: protocol.ExitFailed, Err: err}
		return &unreadable{broken.WithHint("the builder's cache is damaged: remove it and build again")}
	}
	return err
}

// open opens a blob of the layout, or takes one of a base image out of its
// registry.
func (a archive) open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	at, away := a.content.Place(d)
	if !away {
		return a.content.Open(d)
	}
	reference, err := name.NewDigest(at.Registry+"/"+at.Repository+"@"+d.Digest.String(), auth.Naming(at.Insecure)...)
	if err != nil {
		return nil, protocol.Invalid("%w", err)
	}
	layer, err := remote.Layer(reference, auth.Options(ctx, reference, at.Insecure)...)
	if err != nil {
		return nil, fmt.Errorf("fetch the base image's layer %s: %w", reference, err)
	}
	return layer.Compressed()
}

// unpack exports an image of a daemon into an OCI layout folder, and sets its
// digest.
func (r *registry) unpack(ctx context.Context, image *protocol.ImageRef) (remove func(), err error) {
	r.env.Progress(protocol.Event{Metadata: image.Metadata, Phase: "import", Message: "exporting the image from the daemon"})
	if err := os.MkdirAll(r.env.Cache, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(r.env.Cache, ".image-")
	if err != nil {
		return nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) } // what is left of a cache only takes space
	root, err := write(ctx, dir, *image)
	if err != nil {
		remove()
		return nil, fmt.Errorf("export the image of %s from the daemon: %w", image.Name, err)
	}
	saved.InCache(r.env.Cache).Remember(*image, root.String())
	image.Path, image.Digest = dir, root.String()
	return remove, nil
}

// write makes the layout and returns the manifest's digest.
func write(ctx context.Context, dir string, image protocol.ImageRef) (v1.Hash, error) {
	stream, err := saved.Open(ctx, image)
	if err != nil {
		return v1.Hash{}, err
	}
	defer stream.Close()
	folder, err := layout.Write(dir, empty.Index)
	if err != nil {
		return v1.Hash{}, err
	}
	content, failed := saved.New(dir), error(nil)
	err = content.Read(ctx, stream, func(l saved.Layer) {
		failed = errors.Join(failed, folder.WriteBlob(l.Digest, l.Open()), l.Close())
	})
	if err = errors.Join(err, failed); err != nil {
		return v1.Hash{}, err
	}
	m, config, err := content.Manifest(image)
	if err != nil {
		return v1.Hash{}, err
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return v1.Hash{}, err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return v1.Hash{}, err
	}
	return digest, errors.Join(
		folder.WriteBlob(m.Config.Digest, io.NopCloser(bytes.NewReader(config))),
		folder.WriteBlob(digest, io.NopCloser(bytes.NewReader(raw))),
		folder.AppendDescriptor(v1.Descriptor{MediaType: m.MediaType, Digest: digest, Size: size}),
	)
}
