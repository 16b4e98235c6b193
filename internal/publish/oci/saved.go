package oci

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nationtech/harmony/internal/build/layout"
)

// maxDocuments bounds the JSON files of an image together, which are kept in
// memory.
const maxDocuments = 32 << 20

// saved is an image as a daemon gives it out: a tar stream of layers and JSON
// files, in no certain order and under names that differ from daemon to daemon.
// Layers are known by what they hold, so that the names do not matter.
type saved struct {
	// dir is where a layer lies while it is sent.
	dir string
	// layers are the compressed blobs, by diff ID.
	layers map[v1.Hash]v1.Descriptor
	// documents are the JSON files, by name and by sha256:….
	documents map[string][]byte
	held      int
}

// read reads the stream and hands out each layer, compressed, once. Its file is
// there until done is called.
func (s *saved) read(ctx context.Context, stream io.Reader, send func(b blob, done func())) error {
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

func (s *saved) entry(ctx context.Context, header *tar.Header, r *bufio.Reader, send func(b blob, done func())) error {
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
	case header.Size <= maxManifest && len(start) > 0 && (start[0] == '{' || start[0] == '['):
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

func (s *saved) document(name string, data []byte) error {
	if s.held += len(data); s.held > maxDocuments {
		return fmt.Errorf("over %d bytes of JSON", maxDocuments)
	}
	sum := sha256.Sum256(data)
	s.documents[name], s.documents["sha256:"+hex.EncodeToString(sum[:])] = data, data
	return nil
}

// layer compresses one into a file that has no name anymore, so that nothing is
// left of it whatever happens.
func (s *saved) layer(ctx context.Context, plain io.Reader, send func(b blob, done func())) (err error) {
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
	inner, outer, size := sha256.New(), sha256.New(), &counter{}
	z := layout.NewGzipWriter(io.MultiWriter(file, outer, size))
	_, err = io.Copy(io.MultiWriter(inner, z), contextReader{ctx, plain})
	if err = errors.Join(err, z.Close()); err != nil {
		return err
	}
	diffID := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(inner.Sum(nil))}
	if _, known := s.layers[diffID]; known {
		return nil
	}
	d := v1.Descriptor{MediaType: layerType, Size: size.n, Digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(outer.Sum(nil))}}
	s.layers[diffID], sent = d, true
	send(blob{descriptor: d, open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(file, 0, d.Size)), nil
	}}, func() { file.Close() })
	return nil
}

// image is the manifest of what was read, with the configuration as its one
// blob: the layers are sent already. The same image always gives the same one.
func (s *saved) image(id string) (artifact, error) {
	raw, err := s.configuration(id)
	if err != nil {
		return artifact{}, err
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return artifact{}, fmt.Errorf("the configuration of the image %s: %w", id, err)
	}
	configBlob, err := memoryBlob(types.OCIConfigJSON, raw)
	if err != nil {
		return artifact{}, err
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: configBlob.descriptor, Layers: []v1.Descriptor{}}
	for _, diffID := range config.RootFS.DiffIDs {
		layer, found := s.layers[diffID]
		if !found {
			return artifact{}, fmt.Errorf("the daemon did not give out the layer %s of the image %s", diffID, id)
		}
		m.Layers = append(m.Layers, layer)
	}
	root, err := memoryManifest(m)
	return artifact{manifests: []manifest{root}, blobs: []blob{configBlob}}, err
}

// configuration is the document with the ID, but where a daemon means the
// manifest by it the one that manifest.json, the list of contents, names.
func (s *saved) configuration(id string) ([]byte, error) {
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

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// contextReader ends with the context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
