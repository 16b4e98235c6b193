package oci

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nationtech/harmony/internal/ocilayout"
)

// artifact is what stands behind one tag: a manifest and all it refers to.
type artifact struct {
	// manifests are in the order of pushing, each after those that it lists;
	// the last one gets the tag.
	manifests []manifest
	blobs     []blob
}

func (a artifact) root() manifest { return a.manifests[len(a.manifests)-1] }

// size is that of all blobs, in bytes.
func (a artifact) size() int64 {
	var n int64
	for _, b := range a.blobs {
		n += b.descriptor.Size
	}
	return n
}

// manifest is what remote.Pusher puts.
type manifest struct {
	descriptor v1.Descriptor
	raw        []byte
}

func (m manifest) RawManifest() ([]byte, error)        { return m.raw, nil }
func (m manifest) MediaType() (types.MediaType, error) { return m.descriptor.MediaType, nil }

// blob is what remote.Pusher uploads; it makes a partial.CompressedLayer.
type blob struct {
	descriptor v1.Descriptor
	open       func() (io.ReadCloser, error)
	// elsewhere is set for a blob that is in a registry only.
	elsewhere *ocilayout.Place
}

func (b blob) Digest() (v1.Hash, error)            { return b.descriptor.Digest, nil }
func (b blob) Size() (int64, error)                { return b.descriptor.Size, nil }
func (b blob) MediaType() (types.MediaType, error) { return b.descriptor.MediaType, nil }
func (b blob) Compressed() (io.ReadCloser, error)  { return b.open() }

// memoryBlob is a blob of bytes that are at hand.
func memoryBlob(mediaType types.MediaType, data []byte) (blob, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		return blob{}, err
	}
	return blob{
		descriptor: v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size},
		open:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}, nil
}

// memoryManifest is the manifest that m encodes to.
func memoryManifest(m v1.Manifest) (manifest, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return manifest{}, fmt.Errorf("encode manifest: %w", err)
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return manifest{}, err
	}
	return manifest{v1.Descriptor{MediaType: m.MediaType, Digest: digest, Size: size}, raw}, nil
}
