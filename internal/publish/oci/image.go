package oci

import (
	"context"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/internal/publish/saved"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

type imageRegistry struct{ *client }

// NewRegistry makes the OCIRegistry of a topology. A topology that names no
// registry is an error of status protocol.ExitUnsupported.
func NewRegistry(flags *publish.Flags) capability.Adapter[capability.OCIRegistry] {
	return func(_ context.Context, env capability.Environment) (capability.OCIRegistry, error) {
		c, err := newClient(env, "spec.ociRegistry", flags)
		return imageRegistry{c}, err
	}
}

// PushImage implements [capability.OCIRegistry]. An image with an input
// digest gets the tag of protocol.InputTag as well, by which the next build
// finds it. One that exists is copied, unless it stays where it is.
func (r imageRegistry) PushImage(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ImageRef, error) {
	if app.Image.Stays() {
		return publish.InPlace(r.env, app, image)
	}
	path, err := r.destination(app, image)
	if err != nil {
		return protocol.ImageRef{}, err
	}
	tag, err := r.tag(path, app.Version)
	if err != nil {
		return protocol.ImageRef{}, err
	}
	unknown := image.Digest == "" && image.Location != protocol.InDaemon
	if (unknown || image.Planned) && !r.env.DryRun {
		return protocol.ImageRef{}, protocol.Invalid("image of %s is only planned: there is nothing to push", app.Name).WithHint("build it first, without --dry-run")
	}
	if image.Location == protocol.InDaemon {
		if image.Digest, err = r.unload(ctx, app.Metadata, image, tag); err != nil {
			return protocol.ImageRef{}, err
		}
	}
	pushed := image
	pushed.Metadata, pushed.Registry, pushed.Repository, pushed.Tag = app.Metadata, r.host, path, tag.TagStr()
	pushed.Location, pushed.Path, pushed.ID, pushed.Insecure = protocol.InRegistry, "", "", r.guard.MayBePlain()
	pushed.Unchanged, pushed.Planned = false, r.env.DryRun
	if image.Digest == "" {
		return pushed, nil
	}
	if pushed.Unchanged, err = r.published(ctx, tag, app.Version, image.Digest); err != nil {
		return protocol.ImageRef{}, publish.Moved(app, err)
	}
	if !pushed.Unchanged && !r.env.DryRun {
		if err := r.bring(ctx, app, image, tag); err != nil {
			return protocol.ImageRef{}, publish.Moved(app, err)
		}
	}
	pushed.Insecure = r.guard.Plain()
	found := r.vouched != "" && image.Location == protocol.InRegistry && image.Unchanged
	if r.env.DryRun || found { // this run cannot vouch for an image that it found
		return pushed, nil
	}
	return pushed, r.point(ctx, app.Metadata, pushed, tag.Repository)
}

// destination is the image's path in this registry. What is there already, under
// the prefix, stays in its repository, unless it was found by its input in the
// one that is vouched for.
func (r imageRegistry) destination(app protocol.AppSpec, image protocol.ImageRef) (string, error) {
	switch image.Location {
	case protocol.InLayout, "":
		return r.path(image.Repository), nil
	case protocol.InDaemon:
		return r.path(image.Repository), saved.CheckID(image)
	case protocol.InRegistry:
		if app.Image.Ref != "" {
			return r.path(app.Repository()), nil
		}
		if image.Registry != r.host {
			return "", protocol.Unsupported("image %s is in another registry than %s, which %s.url names", image.FullName(), r.host, r.field)
		}
		if image.Repository != r.vouched && (r.prefix == "" || strings.HasPrefix(image.Repository, r.prefix+"/")) {
			return image.Repository, nil
		}
		return r.path(app.Repository()), nil
	}
	return "", protocol.Unsupported("the adapter oci cannot push an image from the location %q", image.Location).
		WithHint("it takes images from an OCI layout folder, a Docker-compatible daemon or the registry itself")
}

func (r imageRegistry) bring(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef, tag name.Tag) error {
	if image.Location == protocol.InLayout || image.Location == "" {
		content, err := readLayout(image.Path, image.Digest)
		if err != nil {
			return err
		}
		_, err = r.push(ctx, app.Metadata, tag, content)
		return err
	}
	if _, err := v1.NewHash(image.Digest); err != nil {
		return protocol.Invalid("%w", err)
	}
	elsewhere := image.Registry != r.host || image.Repository != tag.RepositoryStr()
	if image.Location == protocol.InRegistry && app.Image.Ref != "" && elsewhere {
		return r.mirror(ctx, app, image, tag)
	}
	from, read := tag.Repository, r.get
	if image.Location == protocol.InRegistry && image.Repository != from.RepositoryStr() {
		from, read = from.Registry.Repo(image.Repository), r.puller.Get
	}
	m, err := read(ctx, from.Digest(image.Digest))
	if err != nil {
		return r.fail(ctx, "look for "+from.Digest(image.Digest).Name(), err)
	}
	if from != tag.Repository {
		if err := r.copy(ctx, m, from, tag); err != nil {
			return err
		}
	}
	return r.release(ctx, tag, app.Version, m, image.Digest)
}

// copy brings an image of another repository of this registry, untagged, by
// mounting its blobs where the registry can.
func (r imageRegistry) copy(ctx context.Context, m *remote.Descriptor, from name.Repository, tag name.Tag) error {
	s, err := r.session(ctx, tag.Repository, from.RepositoryStr())
	if err == nil {
		err = s.pusher.Push(ctx, tag.Repository.Digest(m.Digest.String()), m)
	}
	if err != nil {
		return r.fail(ctx, "copy "+from.Digest(m.Digest.String()).Name()+" to "+tag.Name(), err)
	}
	return nil
}

// point sets the tag by which build finds the image of an input. It only saves
// work, so that a registry where tags cannot move is reported and not a failure.
func (r imageRegistry) point(ctx context.Context, app protocol.Metadata, image protocol.ImageRef, repository name.Repository) error {
	if image.InputDigest == "" {
		return nil
	}
	tag := repository.Tag(protocol.InputTag(image.InputDigest))
	if r.vouched != "" {
		tag = repository.Registry.Repo(r.vouched).Tag(tag.TagStr())
	}
	if held, err := r.held(ctx, tag); err == nil && held == image.Digest {
		return nil
	}
	m, err := r.get(ctx, repository.Digest(image.Digest))
	if err == nil && tag.Repository != repository {
		err = r.copy(ctx, m, repository, tag)
	}
	if err == nil {
		err = r.put(ctx, tag, m)
	}
	if err != nil && ctx.Err() == nil {
		r.env.Progress(protocol.Event{Metadata: app, Phase: "push", Message: "the next build will not find this image by its input: " + err.Error()})
		err = nil
	}
	return err
}
