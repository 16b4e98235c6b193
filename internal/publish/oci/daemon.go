package oci

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/publish/saved"
	"github.com/nationtech/harmony/pkg/protocol"
)

// unload brings an image of the daemon into the tag's repository, untagged, and
// returns its digest. An image that the repository has already is not exported
// again. In a dry run the digest is empty where only the export would tell it.
func (r imageRegistry) unload(ctx context.Context, app protocol.Metadata, image protocol.ImageRef, tag name.Tag) (string, error) {
	digest, err := r.unloaded(ctx, image, tag)
	if err != nil || digest != "" || r.env.DryRun {
		return digest, err
	}
	image.Metadata = app
	stream, err := saved.Open(ctx, image)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	content, err := r.transfer(ctx, stream, image, tag)
	if err != nil {
		return "", r.fail(ctx, "push "+tag.Name()+" from the daemon", err)
	}
	if err := r.putAll(ctx, tag, content.manifests); err != nil {
		return "", err
	}
	digest = content.root().descriptor.Digest.String()
	saved.InCache(r.env.Cache).Remember(image, digest)
	return digest, nil
}

// unloaded is the digest of the daemon's image if the repository has it: as this
// machine remembers, or as a tag with the image's configuration shows.
func (r imageRegistry) unloaded(ctx context.Context, image protocol.ImageRef, tag name.Tag) (string, error) {
	if digest := saved.InCache(r.env.Cache).Digest(image); digest != "" {
		held, err := r.held(ctx, tag.Repository.Digest(digest))
		switch {
		case held != "":
			return digest, nil
		case err != nil && !isRefused(err):
			return "", r.fail(ctx, "look for "+tag.Repository.Digest(digest).Name(), err)
		}
	}
	tags := []name.Tag{tag}
	if image.InputDigest != "" {
		tags = append(tags, tag.Repository.Tag(protocol.InputTag(image.InputDigest)))
	}
	for _, t := range tags {
		held, err := r.get(ctx, t)
		switch {
		case isNotFound(err), isRefused(err):
			continue
		case err != nil:
			return "", r.fail(ctx, "look for "+t.Name(), err)
		}
		manifest, err := v1.ParseManifest(strings.NewReader(string(held.Manifest)))
		if err == nil && manifest.Config.Digest.String() == image.ID && manifest.Annotations[protocol.InputAnnotation] == image.InputDigest {
			return held.Digest.String(), nil
		}
	}
	return "", nil
}

// transfer sends the layers of an image while it comes out of the daemon, then
// its configuration, and returns the manifest that it makes of them.
func (r imageRegistry) transfer(ctx context.Context, stream io.Reader, ref protocol.ImageRef, tag name.Tag) (artifact, error) {
	if err := os.MkdirAll(r.env.Cache, 0o700); err != nil {
		return artifact{}, err
	}
	progress := r.progress(ref.Metadata, tag, 0)
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	image := saved.New(r.env.Cache)
	err := image.Read(running, stream, func(layer saved.Layer) {
		progress.grow(layer.Size)
		group.Go(func() error {
			defer layer.Close()
			return r.upload(running, tag.Repository, blob{descriptor: layer.Descriptor, open: func() (io.ReadCloser, error) { return layer.Open(), nil }}, progress)
		})
	})
	// The first error of an upload ends the reading with a less telling one.
	if failed := group.Wait(); failed != nil {
		return artifact{}, failed
	}
	if err != nil {
		return artifact{}, err
	}
	m, config, err := image.Manifest(ref)
	if err != nil {
		return artifact{}, err
	}
	root, err := memoryManifest(m)
	if err != nil {
		return artifact{}, err
	}
	configBlob := memoryBlob(m.Config.MediaType, config)
	progress.grow(configBlob.descriptor.Size)
	return artifact{manifests: []manifest{root}, blobs: []blob{configBlob}}, r.upload(ctx, tag.Repository, configBlob, progress)
}
