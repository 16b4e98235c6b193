package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// artifact is what stands behind one tag: a manifest and all it refers to.
type artifact struct {
	// manifests are in the order of pushing, each after those that it lists;
	// the last one gets the tag.
	manifests []manifest
	blobs     []blob
}

func (a artifact) root() manifest { return a.manifests[len(a.manifests)-1] }

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

// blob is a layer or a configuration to upload.
type blob struct {
	descriptor v1.Descriptor
	open       func() (io.ReadCloser, error)
	// elsewhere is set for a blob that is in a registry only.
	elsewhere *ocilayout.Place
}

func memoryBlob(mediaType types.MediaType, data []byte) blob {
	return blob{
		descriptor: described(mediaType, data),
		open:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
	}
}

func memoryManifest(m v1.Manifest) (manifest, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return manifest{}, fmt.Errorf("encode manifest: %w", err)
	}
	return manifest{described(m.MediaType, raw), raw}, nil
}

func described(mediaType types.MediaType, data []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Size: int64(len(data)), Digest: v1.Hash{Algorithm: "sha256", Hex: digest.FromBytes(data).Encoded()}}
}

// readLayout reads the image of a layout folder. Every manifest is verified now,
// and every blob by the registry that gets it. What may not be distributed stays
// where it is, as with every other tool.
func readLayout(path, want string) (artifact, error) {
	content, err := ocilayout.Read(path, want)
	if err != nil {
		return artifact{}, err
	}
	return artifactOf(content), nil
}

// abroad is an image of another registry: the manifests of all platforms and the
// attestations that its index lists. Blobs are taken from there when they are
// uploaded.
func (c *client) abroad(ctx context.Context, image protocol.ImageRef) (artifact, error) {
	at := ocilayout.Place{Registry: image.Registry, Repository: image.Repository, Insecure: image.Insecure}
	other, err := c.other(at)
	if err != nil {
		return artifact{}, err
	}
	ref, err := name.NewDigest(image.FullName()+"@"+image.Digest, other.naming...)
	if err != nil {
		return artifact{}, protocol.Invalid("%w", err)
	}
	get := func(d v1.Descriptor) ([]byte, error) {
		got, err := other.puller.Get(ctx, ref.Context().Digest(d.Digest.String()))
		if err != nil {
			return nil, err
		}
		return got.Manifest, nil
	}
	root, err := other.puller.Get(ctx, ref)
	var content ocilayout.Content
	if err == nil {
		content, err = ocilayout.ReadFrom(at, root.Descriptor, get)
	}
	if err != nil {
		return artifact{}, other.fail(ctx, "read "+ref.Name(), err)
	}
	return artifactOf(content), nil
}

func artifactOf(content ocilayout.Content) (a artifact) {
	for _, m := range content.Manifests {
		a.manifests = append(a.manifests, manifest{m.Descriptor, m.Raw})
	}
	for _, d := range content.Blobs {
		if d.MediaType != "" && !d.MediaType.IsDistributable() {
			continue
		}
		b := blob{descriptor: d, open: func() (io.ReadCloser, error) {
			file, err := content.Open(d)
			if err != nil {
				return nil, err
			}
			return ocilayout.Measured(file, d)
		}}
		if at, ok := content.Place(d); ok {
			b.elsewhere = &at
		}
		a.blobs = append(a.blobs, b)
	}
	return a
}

// other is a client of the registry of a place, to read from.
func (c *client) other(at ocilayout.Place) (*client, error) {
	env := c.env
	env.Provider = protocol.Provider{URL: at.Registry, Insecure: at.Insecure}
	other, err := newClient(env, c.field, nil)
	if err != nil {
		return nil, err
	}
	other.patience = c.patience
	return other, nil
}

// fetched is the blob with its bytes taken out of the registry that has them.
func (c *client) fetched(ctx context.Context, b blob) blob {
	at := *b.elsewhere
	b.open = func() (io.ReadCloser, error) {
		other, err := c.other(at)
		if err != nil {
			return nil, err
		}
		ref, err := name.NewDigest(at.Registry+"/"+at.Repository+"@"+b.descriptor.Digest.String(), other.naming...)
		if err != nil {
			return nil, protocol.Invalid("%w", err)
		}
		var bytes io.ReadCloser
		layer, err := other.puller.Layer(ctx, ref)
		if err == nil {
			bytes, err = layer.Compressed()
		}
		switch {
		case isNotFound(err):
			lost := &protocol.Error{Code: protocol.ExitFailed, Message: "layer " + ref.Name() + " does not exist any more", Err: err}
			return nil, lost.WithHint("if it is of a base image, build again with --no-cache")
		case err != nil:
			return nil, other.fail(ctx, "fetch layer "+ref.Name(), err)
		}
		return ocilayout.Checked(bytes, b.descriptor), nil
	}
	return b
}
