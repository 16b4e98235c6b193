package nodeimport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/nationtech/harmony/internal/publish/saved"
	"github.com/nationtech/harmony/pkg/protocol"
)

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
