package oci

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/pkg/protocol"
)

// parallel is how many blobs of one artifact are sent at a time: more than that a
// registry on the same machine does not take faster, and one far away may refuse.
const parallel = 6

// published reports whether the tag holds the digest already. A tag with
// another digest is an error: what was released once does not change. Only a
// development version's tag moves.
func (c *client) published(ctx context.Context, tag name.Tag, release, digest string) (bool, error) {
	head, err := c.puller.Head(ctx, tag)
	switch {
	case isNotFound(err):
		return false, nil
	case err != nil:
		return false, c.fail(ctx, "look for "+tag.Name(), err)
	case head.Digest.String() == digest:
		return true, nil
	}
	return false, c.flags.MayReplace(tag.Name(), release, head.Digest.String(), digest)
}

func isNotFound(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// push brings the artifact into the tag's repository: blobs, manifests from the
// leaves up, then the root, which the tag names with the same request.
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
	for _, m := range a.manifests[:len(a.manifests)-1] {
		if err := c.pusher.Put(ctx, tag.Repository.Digest(m.descriptor.Digest.String()), m); err != nil {
			return c.fail(ctx, "push manifest of "+tag.Name(), err)
		}
	}
	if err := c.pusher.Put(ctx, tag, a.root()); err != nil {
		return c.fail(ctx, "tag "+tag.Name(), err)
	}
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
