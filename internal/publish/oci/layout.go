package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/nationtech/harmony/pkg/protocol"
)

// maxManifest is the largest manifest that registries have to take.
const maxManifest = 4 << 20

// layoutReader collects what an OCI layout folder holds.
type layoutReader struct {
	path layout.Path
	artifact
	seen      map[v1.Hash]bool
	elsewhere map[string]place
}

// place is where a blob is that the layout has not got.
type place struct {
	Registry   string `json:"registry"`
	Repository string `json:"repository"`
	Insecure   bool   `json:"insecure"`
}

// readLayout reads the image of a layout folder, of which the index lists just
// one. Every manifest is verified now, and every blob by the registry that gets it.
func readLayout(path string, want string) (artifact, error) {
	index, err := readIndex(path)
	if err != nil {
		return artifact{}, err
	}
	if n := len(index.Manifests); n != 1 {
		return artifact{}, protocol.Invalid("OCI layout %s lists %d images, not one", path, n)
	}
	root := index.Manifests[0]
	if root.Digest.String() != want {
		return artifact{}, protocol.Invalid("OCI layout %s holds %s, not %s", path, root.Digest, want)
	}
	r := layoutReader{path: layout.Path(path), seen: map[v1.Hash]bool{}}
	if r.elsewhere, err = readElsewhere(path); err != nil {
		return artifact{}, err
	}
	if err := r.manifest(root); err != nil {
		return artifact{}, fmt.Errorf("OCI layout %s: %w", path, err)
	}
	return r.artifact, nil
}

func readIndex(path string) (*v1.IndexManifest, error) {
	file, err := os.Open(filepath.Join(path, "index.json"))
	if err != nil {
		return nil, protocol.Invalid("OCI layout: %w", err)
	}
	defer file.Close()
	index, err := v1.ParseIndexManifest(io.LimitReader(file, maxManifest))
	if err != nil {
		return nil, protocol.Invalid("OCI layout %s: index.json: %w", path, err)
	}
	return index, nil
}

// readElsewhere reads which layers of base images stay in a registry until they
// are needed.
func readElsewhere(path string) (map[string]place, error) {
	file := filepath.Join(path, "elsewhere.json")
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, protocol.Invalid("OCI layout: %w", err)
	}
	var content struct {
		Blobs map[string]place `json:"blobs"`
	}
	if err := json.Unmarshal(data, &content); err != nil {
		return nil, protocol.Invalid("OCI layout: %s: %w", file, err)
	}
	return content.Blobs, nil
}

// manifest reads a manifest or index, first what it lists.
func (r *layoutReader) manifest(d v1.Descriptor) error {
	if r.seen[d.Digest] {
		return nil
	}
	r.seen[d.Digest] = true
	raw, err := r.read(d)
	if err != nil {
		return err
	}
	var content struct {
		Manifests []v1.Descriptor `json:"manifests"`
		Config    *v1.Descriptor  `json:"config"`
		Layers    []v1.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(raw, &content); err != nil {
		return fmt.Errorf("manifest %s: %w", d.Digest, err)
	}
	for _, child := range content.Manifests {
		if err := r.manifest(child); err != nil {
			return err
		}
	}
	if content.Config != nil {
		r.blob(*content.Config)
	}
	for _, layer := range content.Layers {
		r.blob(layer)
	}
	r.manifests = append(r.manifests, manifest{d, raw})
	return nil
}

func (r *layoutReader) read(d v1.Descriptor) ([]byte, error) {
	if !d.MediaType.IsImage() && !d.MediaType.IsIndex() {
		return nil, fmt.Errorf("manifest %s is of the unknown type %q", d.Digest, d.MediaType)
	}
	if d.Size > maxManifest {
		return nil, fmt.Errorf("manifest %s has %d bytes; registries take %d at most", d.Digest, d.Size, maxManifest)
	}
	file, err := r.path.Blob(d.Digest)
	if err != nil {
		return nil, err
	}
	var raw bytes.Buffer
	checked := verify(file, d)
	defer checked.Close()
	if _, err := raw.ReadFrom(checked); err != nil {
		return nil, err
	}
	return raw.Bytes(), nil
}

// blob remembers one that a push has to bring. What may not be distributed
// stays where it is, as with every other tool.
func (r *layoutReader) blob(d v1.Descriptor) {
	if r.seen[d.Digest] || d.MediaType != "" && !d.MediaType.IsDistributable() {
		return
	}
	r.seen[d.Digest] = true
	b := blob{descriptor: d, open: func() (io.ReadCloser, error) {
		file, err := r.path.Blob(d.Digest)
		if err != nil {
			return nil, err
		}
		return measure(file, d)
	}}
	if at, ok := r.elsewhere[d.Digest.String()]; ok && !r.has(d.Digest) {
		b.elsewhere = &at
	}
	r.blobs = append(r.blobs, b)
}

func (r *layoutReader) has(digest v1.Hash) bool {
	_, err := os.Lstat(filepath.Join(string(r.path), "blobs", digest.Algorithm, digest.Hex))
	return err == nil
}
