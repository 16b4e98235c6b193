package ocilayout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/pkg/protocol"
)

// maxManifest is the largest manifest that registries must accept.
const maxManifest = 4 << 20

// Content is the one image of a layout folder.
type Content struct {
	// Manifests are the image's manifests and indexes, each after those that it
	// lists: the last one is the image.
	Manifests []Manifest
	// Blobs are everything else they refer to.
	Blobs []v1.Descriptor

	path   layout.Path
	get    func(v1.Descriptor) ([]byte, error)
	places map[digest.Digest]Place
	seen   map[v1.Hash]bool
}

// Manifest is a manifest or an index, with its bytes.
type Manifest struct {
	v1.Descriptor
	Raw []byte

	config *v1.Descriptor
}

// Read reads a layout folder, whose index lists exactly one image: the one with
// the digest want, if that is not empty. Manifests are verified; blobs are not.
func Read(path, want string) (Content, error) {
	c := Content{path: layout.Path(path), seen: map[v1.Hash]bool{}}
	c.get = c.read
	file, err := os.Open(filepath.Join(path, "index.json"))
	if err != nil {
		return c, protocol.Invalid("OCI layout: %w", err)
	}
	defer file.Close()
	index, err := v1.ParseIndexManifest(io.LimitReader(file, maxManifest))
	if err != nil {
		return c, protocol.Invalid("OCI layout %s: index.json: %w", path, err)
	}
	if n := len(index.Manifests); n != 1 {
		return c, protocol.Invalid("OCI layout %s lists %d images, not one", path, n)
	}
	root := index.Manifests[0]
	if want != "" && root.Digest.String() != want {
		return c, protocol.Invalid("OCI layout %s contains %s, not %s", path, root.Digest, want)
	}
	if c.places, err = Elsewhere(path); err != nil {
		return c, protocol.Invalid("OCI layout: %w", err)
	}
	if err := c.manifest(root); err != nil {
		return c, fmt.Errorf("OCI layout %s: %w", path, err)
	}
	return c, nil
}

// ReadFrom is the image of a root manifest or index in a registry: every blob has
// its Place there. get returns a manifest, verified.
func ReadFrom(at Place, root v1.Descriptor, get func(v1.Descriptor) ([]byte, error)) (Content, error) {
	c := Content{seen: map[v1.Hash]bool{}, places: map[digest.Digest]Place{}}
	c.get = func(d v1.Descriptor) ([]byte, error) {
		if err := readable(d); err != nil {
			return nil, err
		}
		return get(d)
	}
	err := c.manifest(root)
	for _, blob := range c.Blobs {
		c.places[digest.Digest(blob.Digest.String())] = at
	}
	return c, err
}

// manifest reads a manifest or index, after those that it lists.
func (c *Content) manifest(d v1.Descriptor) error {
	if c.seen[d.Digest] {
		return nil
	}
	c.seen[d.Digest] = true
	raw, err := c.get(d)
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
		if err := c.manifest(child); err != nil {
			return err
		}
	}
	if content.Config != nil {
		content.Layers = append(content.Layers, *content.Config)
	}
	for _, blob := range content.Layers {
		if !c.seen[blob.Digest] {
			c.seen[blob.Digest] = true
			c.Blobs = append(c.Blobs, blob)
		}
	}
	c.Manifests = append(c.Manifests, Manifest{d, raw, content.Config})
	return nil
}

func readable(d v1.Descriptor) error {
	if !d.MediaType.IsImage() && !d.MediaType.IsIndex() {
		return fmt.Errorf("manifest %s is of the unknown type %q", d.Digest, d.MediaType)
	}
	if d.Size > maxManifest {
		return fmt.Errorf("manifest %s has %d bytes; registries take %d at most", d.Digest, d.Size, maxManifest)
	}
	return nil
}

func (c *Content) read(d v1.Descriptor) ([]byte, error) {
	if err := readable(d); err != nil {
		return nil, err
	}
	file, err := c.Open(d)
	if err != nil {
		return nil, err
	}
	checked := Checked(file, d)
	defer checked.Close()
	return io.ReadAll(checked)
}

// Open opens a blob of the folder, or a manifest that was read from a registry.
func (c *Content) Open(d v1.Descriptor) (io.ReadCloser, error) {
	if c.path != "" {
		return c.path.Blob(d.Digest)
	}
	for _, m := range c.Manifests {
		if m.Digest == d.Digest {
			return io.NopCloser(bytes.NewReader(m.Raw)), nil
		}
	}
	return nil, fmt.Errorf("blob %s: %w", d.Digest, fs.ErrNotExist)
}

func (c *Content) file(sum v1.Hash) string {
	return filepath.Join(string(c.path), ocispec.ImageBlobsDir, sum.Algorithm, sum.Hex)
}

// Place is where a blob is that the folder does not have.
func (c *Content) Place(d v1.Descriptor) (Place, bool) {
	at, ok := c.places[digest.Digest(d.Digest.String())]
	if ok && c.path != "" {
		_, err := os.Lstat(c.file(d.Digest))
		ok = err != nil
	}
	return at, ok
}

// complete fails if a blob is missing or has the wrong size, but for those that
// have a Place.
func (c *Content) complete() error {
	for _, b := range c.Blobs {
		if _, ok := c.Place(b); ok {
			continue
		}
		info, err := os.Stat(c.file(b.Digest))
		if err == nil {
			err = wrongSize(b, info.Size(), true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Attestation is the annotation of the manifests in an index that are not images:
// SBOMs and provenance.
const Attestation = "vnd.docker.reference.type"

// platforms are those of the images, from their configurations.
func (c *Content) platforms() (names []string, err error) {
	for _, m := range c.Manifests {
		if m.config == nil || m.Annotations[Attestation] != "" {
			continue
		}
		data, err := os.ReadFile(c.file(m.config.Digest))
		if err != nil {
			return nil, err
		}
		var p ocispec.Platform
		if err := json.Unmarshal(data, &p); err != nil {
			return nil, fmt.Errorf("configuration %s: %w", m.config.Digest, err)
		}
		names = append(names, PlatformString(p))
	}
	return names, nil
}

// elsewhereFile is next to index.json. An OCI layout may have other files, which
// other tools leave alone.
const elsewhereFile = "elsewhere.json"

// Place is where a blob is that a layout refers to and does not contain.
type Place struct {
	// Registry is host[:port], and Repository the path there.
	Registry   string `json:"registry"`
	Repository string `json:"repository"`
	// Insecure is set when the registry is reached by plain http.
	Insecure bool `json:"insecure,omitempty"`
}

type places struct {
	Blobs map[digest.Digest]Place `json:"blobs"`
}

// Elsewhere lists the blobs that are not in a layout folder but in a registry,
// where whoever pushes the image there need not bring them from here.
func Elsewhere(dir string) (map[digest.Digest]Place, error) {
	path := filepath.Join(dir, elsewhereFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var content places
	if err := json.Unmarshal(data, &content); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return content.Blobs, nil
}

// LeaveElsewhere notes a blob that the image has and the layout does not.
func (d *Draft) LeaveElsewhere(sum digest.Digest, place Place) {
	if d.elsewhere == nil {
		d.elsewhere = map[digest.Digest]Place{}
	}
	d.elsewhere[sum] = place
}
