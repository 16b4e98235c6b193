package oci

import (
	"context"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// imageRegistry is the OCIRegistry.
type imageRegistry struct{ *client }

// NewRegistry makes the OCIRegistry of a topology. A topology that names no
// registry is an error of status protocol.ExitUnsupported.
func NewRegistry(_ context.Context, env capability.Environment) (capability.OCIRegistry, error) {
	c, err := newClient(env, "spec.ociRegistry")
	if err != nil {
		return nil, err
	}
	return imageRegistry{c}, nil
}

// PushImage implements [capability.OCIRegistry].
func (r imageRegistry) PushImage(ctx context.Context, app protocol.AppSpec, image protocol.ImageRef) (protocol.ImageRef, error) {
	path, err := r.destination(image)
	if err != nil {
		return protocol.ImageRef{}, err
	}
	tag, err := r.tag(path, app.Version)
	if err != nil {
		return protocol.ImageRef{}, err
	}
	pushed := r.pushed(app, image, path, tag)
	switch planned := image.Digest == "" || image.Planned; {
	case planned && !r.env.DryRun:
		return protocol.ImageRef{}, protocol.Invalid("image of %s is only planned: there is nothing to push", app.Name).WithHint("build it first, without --dry-run")
	case image.Digest == "":
		return pushed, nil
	}
	if pushed.Unchanged, err = r.published(ctx, tag, app.Version, image.Digest); err != nil {
		return protocol.ImageRef{}, err
	}
	if !pushed.Unchanged && !r.env.DryRun {
		if err := r.bring(ctx, app.Metadata, image, tag); err != nil {
			return protocol.ImageRef{}, err
		}
	}
	pushed.Insecure = r.plain.Load()
	return pushed, nil
}

// pushed is the image as it is, or would be, after the push.
func (r imageRegistry) pushed(app protocol.AppSpec, image protocol.ImageRef, path string, tag name.Tag) protocol.ImageRef {
	image.Metadata, image.Registry, image.Repository, image.Tag = app.Metadata, r.host, path, tag.TagStr()
	image.Location, image.Path, image.Insecure = protocol.InRegistry, "", r.mayBePlain()
	image.Unchanged, image.Planned = false, r.env.DryRun
	return image
}

// destination is the image's path in this registry.
func (r imageRegistry) destination(image protocol.ImageRef) (string, error) {
	switch image.Location {
	case protocol.InLayout, "":
		return r.path(image.Repository), nil
	case protocol.InRegistry:
		if image.Registry != r.host {
			return "", protocol.Unsupported("image %s is in another registry than %s, which %s.url names", image.FullName(), r.host, r.field)
		}
		return image.Repository, nil
	}
	return "", protocol.Unsupported("the adapter oci cannot push an image from the location %q", image.Location).
		WithHint("it takes images from an OCI layout folder; another containerBuilder makes one")
}

func (r imageRegistry) bring(ctx context.Context, app protocol.Metadata, image protocol.ImageRef, tag name.Tag) error {
	if image.Location == protocol.InRegistry {
		digest, err := v1.NewHash(image.Digest)
		if err != nil {
			return protocol.Invalid("%w", err)
		}
		return r.retag(ctx, tag, digest)
	}
	content, err := readLayout(image.Path, image.Digest)
	if err != nil {
		return err
	}
	return r.push(ctx, app, tag, content)
}
