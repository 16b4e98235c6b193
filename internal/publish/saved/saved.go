// Package saved reads images out of a Docker-compatible daemon, for the adapters
// that bring them elsewhere.
package saved

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/internal/registry/daemon"
	"github.com/nationtech/harmony/pkg/protocol"
)

// maxDocuments bounds the JSON files of an image together, which are kept in
// memory.
const maxDocuments = 32 << 20

// maxDocument is the largest JSON file: registries take no larger manifest.
const maxDocument = 4 << 20

// Image is an image as a daemon gives it out: a tar stream of layers and JSON
// files, in no certain order and under names that differ from daemon to daemon.
// Layers are known by what they hold, so that the names do not matter.
type Image struct {
	dir string
	// layers are the compressed blobs, by diff ID.
	layers map[v1.Hash]v1.Descriptor
	// documents are the JSON files, by name and by sha256:….
	documents map[string][]byte
	held      int
}

// New makes an empty one. dir is where a layer lies while it is sent.
func New(dir string) *Image {
	return &Image{dir: dir, layers: map[v1.Hash]v1.Descriptor{}, documents: map[string][]byte{}}
}

// Layer is a compressed layer. It is there until Close is called.
type Layer struct {
	v1.Descriptor
	file *os.File
}

// Open reads it from its start; each reader is independent.
func (l Layer) Open() io.ReadCloser { return io.NopCloser(io.NewSectionReader(l.file, 0, l.Size)) }

// Close takes it away.
func (l Layer) Close() error { return l.file.Close() }

// Read reads the stream and hands out each layer, compressed, once.
func (s *Image) Read(ctx context.Context, stream io.Reader, send func(Layer)) error {
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("the daemon's stream of the image: %w", err)
		case header.Typeflag != tar.TypeReg:
			continue
		}
		if err := s.entry(ctx, header, bufio.NewReaderSize(archive, 64<<10), send); err != nil {
			return fmt.Errorf("the daemon's stream of the image: %s: %w", header.Name, err)
		}
	}
}

func (s *Image) entry(ctx context.Context, header *tar.Header, r *bufio.Reader, send func(Layer)) error {
	start, err := r.Peek(min(2, int(header.Size)))
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case len(start) == 2 && start[0] == 0x1f && start[1] == 0x8b:
		plain, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		return s.layer(ctx, plain, send)
	case header.Size <= maxDocument && len(start) > 0 && (start[0] == '{' || start[0] == '['):
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if !json.Valid(data) { // a layer whose first file has such a name
			return s.layer(ctx, bytes.NewReader(data), send)
		}
		return s.document(header.Name, data)
	case header.Size > 0 && header.Size%512 == 0:
		return s.layer(ctx, r, send)
	}
	return nil
}

func (s *Image) document(name string, data []byte) error {
	if s.held += len(data); s.held > maxDocuments {
		return fmt.Errorf("over %d bytes of JSON", maxDocuments)
	}
	s.documents[name], s.documents[digest.FromBytes(data).String()] = data, data
	return nil
}

// layer compresses one into a file that has no name anymore, so that nothing is
// left of it whatever happens.
func (s *Image) layer(ctx context.Context, plain io.Reader, send func(Layer)) (err error) {
	file, err := os.CreateTemp(s.dir, ".layer-*")
	if err != nil {
		return err
	}
	sent := false
	defer func() {
		if !sent {
			err = errors.Join(err, file.Close())
		}
	}()
	if err := os.Remove(file.Name()); err != nil {
		return err
	}
	made, err := ocilayout.Compress(file, func(w io.Writer) error {
		_, err := io.Copy(w, ocilayout.WithContext(ctx, plain))
		return err
	})
	if err != nil {
		return err
	}
	diffID := v1.Hash{Algorithm: "sha256", Hex: made.DiffID.Encoded()}
	if _, known := s.layers[diffID]; known {
		return nil
	}
	d := v1.Descriptor{MediaType: types.OCILayer, Size: made.Descriptor.Size, Digest: v1.Hash{Algorithm: "sha256", Hex: made.Descriptor.Digest.Encoded()}}
	s.layers[diffID], sent = d, true
	send(Layer{d, file})
	return nil
}

// Manifest is that of the image whose stream was read, and its configuration.
// The same image of the same input always gives the same one.
func (s *Image) Manifest(image protocol.ImageRef) (v1.Manifest, []byte, error) {
	id := image.ID
	raw, err := s.configuration(id)
	if err != nil {
		return v1.Manifest{}, nil, err
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return v1.Manifest{}, nil, fmt.Errorf("the configuration of the image %s: %w", id, err)
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: []v1.Descriptor{}}
	m.Config.MediaType = types.OCIConfigJSON
	if image.InputDigest != "" {
		m.Annotations = map[string]string{protocol.InputAnnotation: image.InputDigest}
	}
	if m.Config.Digest, m.Config.Size, err = v1.SHA256(bytes.NewReader(raw)); err != nil {
		return v1.Manifest{}, nil, err
	}
	for _, diffID := range config.RootFS.DiffIDs {
		layer, found := s.layers[diffID]
		if !found {
			return v1.Manifest{}, nil, fmt.Errorf("the daemon did not give out the layer %s of the image %s", diffID, id)
		}
		m.Layers = append(m.Layers, layer)
	}
	return m, raw, nil
}

// configuration is the document with the ID, but where a daemon means the
// manifest by it the one that manifest.json, the list of contents, names.
func (s *Image) configuration(id string) ([]byte, error) {
	var contents []struct{ Config string }
	if data, found := s.documents["manifest.json"]; found {
		if err := json.Unmarshal(data, &contents); err != nil {
			return nil, fmt.Errorf("manifest.json of the image %s: %w", id, err)
		}
	}
	if len(contents) == 1 {
		if data, found := s.documents[contents[0].Config]; found {
			return data, nil
		}
	}
	return nil, fmt.Errorf("the daemon did not give out the configuration of the image %s", id)
}

// Open exports an image from the daemon that the environment names, as the
// stream that [Image.Read] takes.
func Open(ctx context.Context, image protocol.ImageRef) (io.ReadCloser, error) {
	d, err := daemon.Connect(ctx, os.Getenv)
	if err != nil {
		return nil, fmt.Errorf("the image of %s is in a daemon: %w", image.Name, err)
	}
	if _, err := d.Image(ctx, image.ID); err != nil {
		d.Close()
		if !daemon.IsNotFound(err) {
			return nil, err
		}
		gone := &protocol.Error{Code: protocol.ExitFailed, Message: fmt.Sprintf("the image of %s is not in the daemon at %s anymore: %s", image.Name, d, image.ID)}
		return nil, gone.WithHint("build it again")
	}
	stream, err := d.Save(ctx, image.ID)
	if err != nil {
		d.Close()
		return nil, err
	}
	return connected{stream, d}, nil
}

// connected is a stream with the connection that it comes over.
type connected struct {
	io.ReadCloser
	daemon *daemon.Client
}

func (c connected) Close() error {
	defer c.daemon.Close()
	return c.ReadCloser.Close()
}

// CheckID refuses an invalid image ID of a daemon.
func CheckID(image protocol.ImageRef) error {
	if _, err := v1.NewHash(image.ID); err != nil {
		return protocol.Invalid("image %s is in a daemon, but its id %q is not a digest", image.FullName(), image.ID)
	}
	return nil
}

// Memory is the folder that knows which digests the images of daemons got.
type Memory string

// InCache is the memory of a stage.
func InCache(cache string) Memory { return Memory(filepath.Join(cache, "daemon")) }

func (m Memory) file(image protocol.ImageRef) string {
	name := strings.TrimPrefix(image.ID, "sha256:")
	if image.InputDigest != "" { // it is in the manifest
		name += "-" + strings.TrimPrefix(image.InputDigest, "sha256:")
	}
	return filepath.Join(string(m), filepath.Base(name))
}

// Digest is that of the image with the ID and the input; "" when it is unknown.
func (m Memory) Digest(image protocol.ImageRef) string {
	data, err := os.ReadFile(m.file(image))
	if _, malformed := v1.NewHash(string(data)); err != nil || malformed != nil {
		return ""
	}
	return string(data)
}

// Remember keeps the digest. A cache that cannot be written only costs time, as
// does a file that was not written to its end: it holds no digest.
func (m Memory) Remember(image protocol.ImageRef, digest string) {
	_ = errors.Join(os.MkdirAll(string(m), 0o700), os.WriteFile(m.file(image), []byte(digest), 0o600))
}
