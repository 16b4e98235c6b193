package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/version"
	"github.com/nationtech/harmony/pkg/protocol"
)

// parallel is how many blobs of one artifact are sent at a time.
const parallel = 4

// published reports whether the tag holds the digest already. A tag with
// another digest is an error: what was released once does not change. Only a
// development version's tag moves.
func (c *client) published(ctx context.Context, tag name.Tag, release, digest string) (bool, error) {
	head, err := c.puller.Head(ctx, tag)
	var answer *transport.Error
	switch {
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return false, nil
	case err != nil:
		return false, c.fail(ctx, "look for "+tag.Name(), err)
	case head.Digest.String() == digest:
		return true, nil
	case isDevelopment(release):
		return false, nil
	}
	refused := &protocol.Error{Code: protocol.ExitFailed, Message: fmt.Sprintf("%s is published with another digest: it holds %s, this one is %s", tag.Name(), head.Digest, digest)}
	return false, refused.WithHint("a released version does not change: release under a new version, or from the very source that %s was made from", release)
}

// isDevelopment reports a version such as 1.4.1-dev.3.g1a2b3c4d5e6f.
func isDevelopment(text string) bool {
	v, err := semver.StrictNewVersion(text)
	return err == nil && version.IsDevelopment(*v)
}

// push brings the artifact into the tag's repository: blobs, manifests from the
// leaves to the root, then the tag.
func (c *client) push(ctx context.Context, app protocol.Metadata, tag name.Tag, a artifact) error {
	progress := c.progress(app, tag, a.size())
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, b := range a.blobs {
		group.Go(func() error { return c.upload(running, tag.Repository, b, progress) })
	}
	if err := group.Wait(); err != nil {
		return c.fail(ctx, "push "+tag.Name(), err)
	}
	for _, m := range a.manifests {
		if err := c.pusher.Put(ctx, tag.Repository.Digest(m.descriptor.Digest.String()), m); err != nil {
			return c.fail(ctx, "push manifest of "+tag.Name(), err)
		}
	}
	if err := c.pusher.Put(ctx, tag, a.root()); err != nil {
		return c.fail(ctx, "tag "+tag.Name(), err)
	}
	return nil
}

func (c *client) upload(ctx context.Context, repository name.Repository, b blob, progress *progress) error {
	counted := progress.blob(b)
	layer, err := partial.CompressedToLayer(counted)
	if err != nil {
		return err
	}
	if err := c.pusher.Upload(ctx, repository, layer); err != nil {
		return err
	}
	counted.done() // all of it, also where the registry had it
	return nil
}

// retag sets the tag to a manifest that the repository holds.
func (c *client) retag(ctx context.Context, tag name.Tag, digest v1.Hash) error {
	held, err := c.puller.Get(ctx, tag.Repository.Digest(digest.String()))
	if err != nil {
		return c.fail(ctx, "look for "+tag.Repository.Digest(digest.String()).Name(), err)
	}
	if err := c.pusher.Put(ctx, tag, held); err != nil {
		return c.fail(ctx, "tag "+tag.Name(), err)
	}
	return nil
}
