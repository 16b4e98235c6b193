package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/daemon"
	"github.com/nationtech/harmony/pkg/protocol"
)

// unload brings an image of the daemon into the tag's repository, untagged, and
// returns its digest. What the repository has already is not taken out of the
// daemon again. In a dry run the digest is empty when only that could tell it.
func (r imageRegistry) unload(ctx context.Context, app protocol.Metadata, image protocol.ImageRef, tag name.Tag) (string, error) {
	digest, err := r.unloaded(ctx, image, tag)
	if err != nil || digest != "" || r.env.DryRun {
		return digest, err
	}
	d, err := daemon.Connect(ctx, os.Getenv)
	if err != nil {
		return "", fmt.Errorf("the image of %s is in a daemon: %w", app.Name, err)
	}
	defer d.Close()
	switch _, err := d.Image(ctx, image.ID); {
	case daemon.IsNotFound(err):
		return "", (&protocol.Error{Code: protocol.ExitFailed, Message: fmt.Sprintf("the image of %s is not in the daemon at %s anymore: %s", app.Name, d, image.ID)}).WithHint("build it again")
	case err != nil:
		return "", err
	}
	content, err := r.transfer(ctx, app, d, image.ID, tag)
	if err != nil {
		return "", r.fail(ctx, "push "+tag.Name()+" out of the daemon", err)
	}
	for _, m := range content.manifests {
		if err := r.pusher.Put(ctx, tag.Repository.Digest(m.descriptor.Digest.String()), m); err != nil {
			return "", r.fail(ctx, "push manifest of "+tag.Name(), err)
		}
	}
	digest = content.root().descriptor.Digest.String()
	return digest, r.remember(image.ID, digest)
}

// unloaded is the digest of the daemon's image if the repository has it: as this
// machine remembers, or as a tag tells that has the image's configuration.
func (r imageRegistry) unloaded(ctx context.Context, image protocol.ImageRef, tag name.Tag) (string, error) {
	if digest, ok := r.remembered(image.ID); ok {
		_, err := r.puller.Head(ctx, tag.Repository.Digest(digest))
		switch {
		case err == nil:
			return digest, nil
		case !isNotFound(err):
			return "", r.fail(ctx, "look for "+tag.Repository.Digest(digest).Name(), err)
		}
	}
	tags := []name.Tag{tag}
	if image.InputDigest != "" {
		tags = append(tags, tag.Repository.Tag(protocol.InputTag(image.InputDigest)))
	}
	for _, t := range tags {
		held, err := r.puller.Get(ctx, t)
		switch {
		case isNotFound(err):
			continue
		case err != nil:
			return "", r.fail(ctx, "look for "+t.Name(), err)
		}
		manifest, err := v1.ParseManifest(strings.NewReader(string(held.Manifest)))
		if err == nil && manifest.Config.Digest.String() == image.ID {
			return held.Digest.String(), nil
		}
	}
	return "", nil
}

// memory is the file with the digest that an image of a daemon got.
func (c *client) memory(id string) string {
	return filepath.Join(c.env.Cache, "daemon", strings.TrimPrefix(id, "sha256:"))
}

func (c *client) remembered(id string) (string, bool) {
	data, err := os.ReadFile(c.memory(id))
	if err != nil {
		return "", false
	}
	_, err = v1.NewHash(string(data))
	return string(data), err == nil
}

func (c *client) remember(id, digest string) error {
	file := c.memory(id)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		// A cache that cannot be written to only costs time.
		return nil //nolint:nilerr // see above
	}
	return writeWhole(file, []byte(digest))
}

// writeWhole writes a file that is seen whole or not at all.
func writeWhole(file string, data []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(data)
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}

// transfer sends the layers of an image while it comes out of the daemon, then
// its configuration, and returns the manifest that it makes of them.
func (r imageRegistry) transfer(ctx context.Context, app protocol.Metadata, d *daemon.Client, id string, tag name.Tag) (artifact, error) {
	stream, err := d.Save(ctx, id)
	if err != nil {
		return artifact{}, err
	}
	defer stream.Close()
	if err := os.MkdirAll(r.env.Cache, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return artifact{}, err
	}
	progress := r.progress(app, tag, 0)
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	saved := saved{dir: r.env.Cache, layers: map[v1.Hash]v1.Descriptor{}, documents: map[string][]byte{}}
	err = saved.read(running, stream, func(b blob, done func()) {
		progress.grow(b.descriptor.Size)
		group.Go(func() error {
			defer done()
			return r.upload(running, tag.Repository, b, progress)
		})
	})
	// The first error of an upload ends the reading with a less telling one.
	if failed := group.Wait(); failed != nil {
		return artifact{}, failed
	}
	if err != nil {
		return artifact{}, err
	}
	content, err := saved.image(id)
	if err != nil {
		return artifact{}, err
	}
	progress.grow(content.size())
	for _, b := range content.blobs {
		if err := r.upload(ctx, tag.Repository, b, progress); err != nil {
			return artifact{}, err
		}
	}
	return content, nil
}

// layerType is that of every layer that comes out of a daemon.
const layerType = types.OCILayer
