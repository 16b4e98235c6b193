package oci

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// parallel is how many blobs of one artifact are sent at a time: more than that a
// registry on the same machine does not take faster, and one far away may refuse.
const parallel = 6

// held is the digest that a tag or a digest stands for, empty where there is
// nothing. Registries refuse to tell of a repository that the first push will
// make: then it is an error that isRefused knows.
func (c *client) held(ctx context.Context, ref name.Reference) (string, error) {
	puller, err := c.reader(ctx, ref.Context())
	if err != nil {
		return "", err
	}
	head, err := puller.Head(ctx, ref)
	if err == nil {
		return head.Digest.String(), nil
	}
	if !isNotFound(err) && !errors.As(err, new(*url.Error)) { // not every registry answers HEAD as it answers GET
		var got *remote.Descriptor
		if got, err = puller.Get(ctx, ref); err == nil {
			return got.Digest.String(), nil
		}
	}
	if isNotFound(err) {
		err = nil
	}
	return "", err
}

// published reports whether the tag holds the digest already. A tag with
// another digest is an error: what was released once does not change. Only a
// development version's tag moves.
func (c *client) published(ctx context.Context, tag name.Tag, release, digest string) (bool, error) {
	held, err := c.held(ctx, tag)
	if isRefused(err) { // the push shows why; a dry run only tries to begin one
		err = nil
		if c.env.DryRun {
			err = c.tryPush(ctx, tag.Repository)
		}
	}
	switch {
	case err != nil:
		return false, c.fail(ctx, "look for "+tag.Name(), err)
	case held == "" || held == digest:
		return held != "", nil
	}
	return false, c.flags.MayReplace(tag.Name(), release, held, digest)
}

// release puts a manifest under the tag of a version. Somebody else may release
// the same version meanwhile; one of the two has to fail.
func (c *client) release(ctx context.Context, tag name.Tag, version string, m remote.Taggable, digest string) error {
	moves := c.flags.MayReplace(tag.Name(), version, "", digest) == nil
	if !moves {
		if held, err := c.published(ctx, tag, version, digest); held || err != nil {
			return err
		}
	}
	if err := c.put(ctx, tag, m); err != nil || moves {
		return err
	}
	held, err := c.held(ctx, tag)
	switch {
	case err != nil && !isRefused(err): // who may push need not be allowed to pull
		return c.fail(ctx, "read back "+tag.Name(), err)
	case held != "" && held != digest: // reading may lag behind writing
		return c.flags.MayReplace(tag.Name(), version, held, digest)
	}
	return nil
}

// put puts a manifest under a tag, whatever that holds.
func (c *client) put(ctx context.Context, tag name.Tag, m remote.Taggable) error {
	s, err := c.session(ctx, tag.Repository, "")
	if err == nil {
		err = s.pusher.Put(ctx, tag, m)
	}
	if err != nil {
		return c.fail(ctx, "tag "+tag.Name(), err)
	}
	return nil
}

func isNotFound(err error) bool { return auth.HasStatus(err, http.StatusNotFound) }

// isRefused reports an answer for want of credentials that may do it.
func isRefused(err error) bool {
	return auth.HasStatus(err, http.StatusUnauthorized, http.StatusForbidden)
}

// push brings the artifact into the tag's repository: blobs, manifests from the
// leaves up, then the root, which the tag names with the same request. What comes with it
// is there before the tag; kept says which of its tags it did not get.
func (c *client) push(ctx context.Context, app protocol.Metadata, tag name.Tag, a artifact, with ...referrer) (kept []string, err error) {
	all := artifact{blobs: slices.Clone(a.blobs)}
	for _, one := range with {
		all.blobs = append(all.blobs, one.blobs...)
	}
	progress := c.progress(app, tag, all.size())
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, b := range all.blobs {
		group.Go(func() error { return c.upload(running, tag.Repository, b, progress) })
	}
	if err := group.Wait(); err != nil {
		return nil, c.fail(ctx, "push "+tag.Name(), err)
	}
	first := a.manifests
	if len(with) == 0 { // else some registries want the image before what refers to it
		first = first[:len(first)-1]
	}
	if err := c.putAll(ctx, tag, first); err != nil {
		return nil, err
	}
	for _, one := range with {
		left, err := c.attach(ctx, tag, one)
		if err != nil {
			return nil, err
		}
		kept = append(kept, left...)
	}
	return kept, c.release(ctx, tag, app.Version, a.root(), a.root().descriptor.Digest.String())
}

func (c *client) putAll(ctx context.Context, tag name.Tag, manifests []manifest) error {
	s, err := c.session(ctx, tag.Repository, "")
	for i := 0; i < len(manifests) && err == nil; i++ {
		err = s.pusher.Put(ctx, tag.Repository.Digest(manifests[i].descriptor.Digest.String()), manifests[i])
	}
	if err != nil {
		return c.fail(ctx, "push manifest of "+tag.Name(), err)
	}
	return nil
}

func (c *client) get(ctx context.Context, ref name.Reference) (*remote.Descriptor, error) {
	puller, err := c.reader(ctx, ref.Context())
	if err != nil {
		return nil, err
	}
	return puller.Get(ctx, ref)
}
