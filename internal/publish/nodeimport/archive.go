package nodeimport

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// maxDocument bounds a manifest and the lists of a layout, in bytes.
const maxDocument = 4 << 20

// archive is an image as a tar stream of an OCI layout, with the names that
// containerd is to give it. It is written anew for each node.
type archive struct {
	path      string
	index     []byte
	blobs     []v1.Descriptor
	elsewhere map[string]place
}

// place is where a base image's layer is that the layout has not got.
type place struct {
	Registry   string `json:"registry"`
	Repository string `json:"repository"`
	Insecure   bool   `json:"insecure"`
}

// readArchive reads the manifests of a layout folder; blobs are read, and
// verified, when they are written.
func readArchive(ctx context.Context, path string, image protocol.ImageRef) (archive, error) {
	a := archive{path: path}
	file, err := os.ReadFile(filepath.Join(path, "index.json"))
	if err != nil {
		return a, protocol.Invalid("OCI layout: %w", err)
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(file))
	if err != nil || len(index.Manifests) != 1 || index.Manifests[0].Digest.String() != image.Digest {
		return a, protocol.Invalid("OCI layout %s does not hold just the image %s", path, image.Digest)
	}
	root := index.Manifests[0]
	if a.elsewhere, err = readElsewhere(path); err != nil {
		return a, err
	}
	if err := a.collect(ctx, root, map[v1.Hash]bool{}); err != nil {
		return a, fmt.Errorf("OCI layout %s: %w", path, err)
	}
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

func readElsewhere(path string) (map[string]place, error) {
	data, err := os.ReadFile(filepath.Join(path, "elsewhere.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var content struct {
		Blobs map[string]place `json:"blobs"`
	}
	if err == nil {
		err = json.Unmarshal(data, &content)
	}
	if err != nil {
		return nil, protocol.Invalid("OCI layout %s: elsewhere.json: %w", path, err)
	}
	return content.Blobs, nil
}

// collect lists the blobs of a manifest or index, itself included.
func (a *archive) collect(ctx context.Context, d v1.Descriptor, seen map[v1.Hash]bool) error {
	if seen[d.Digest] {
		return nil
	}
	seen[d.Digest] = true
	a.blobs = append(a.blobs, d)
	if !d.MediaType.IsImage() && !d.MediaType.IsIndex() {
		return nil
	}
	if d.Size > maxDocument {
		return fmt.Errorf("manifest %s has over %d bytes", d.Digest, maxDocument)
	}
	var raw bytes.Buffer
	if err := a.copyBlob(ctx, &raw, d); err != nil {
		return err
	}
	var content struct {
		Manifests []v1.Descriptor `json:"manifests"`
		Config    *v1.Descriptor  `json:"config"`
		Layers    []v1.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(raw.Bytes(), &content); err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	children := append(content.Manifests, content.Layers...)
	if content.Config != nil {
		children = append(children, *content.Config)
	}
	for _, child := range children {
		if err := a.collect(ctx, child, seen); err != nil {
			return err
		}
	}
	return nil
}

// unreadable is the error of an archive that cannot be written: of our bytes,
// and not of a node.
type unreadable struct{ error }

func (e *unreadable) Unwrap() error { return e.error }

// write writes the tar stream. What makes an image of the blobs comes last, so
// that a stream that breaks off is none.
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
	defer blob.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), io.LimitReader(blob, d.Size+1))
	switch {
	case err != nil && !errors.Is(err, tar.ErrWriteTooLong):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	case n != d.Size || hex.EncodeToString(sum.Sum(nil)) != d.Digest.Hex:
		broken := &protocol.Error{Code: protocol.ExitFailed, Message: fmt.Sprintf("blob %s is not what its digest says", d.Digest)}
		return &unreadable{broken.WithHint("the builder's cache is damaged: remove it and build again")}
	}
	return nil
}

// open opens a blob of the layout, or takes one of a base image out of its
// registry.
func (a archive) open(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	blob, err := layout.Path(a.path).Blob(d.Digest)
	at, known := a.elsewhere[d.Digest.String()]
	if err == nil || !known {
		return blob, err
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
