package build

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/buildable"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

type job struct {
	*builder
	app       protocol.AppSpec
	platforms []ocispec.Platform
	source    buildable.Source // or a *projectSource
	// memory is the folder of what is remembered about the app's inputs.
	memory string
}

func (j *job) close() error {
	if c, ok := j.source.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// attempt finds or makes the image of the input as it is now.
func (j *job) attempt(ctx context.Context) (protocol.ImageRef, error) {
	in, err := j.look(ctx)
	if err != nil {
		return protocol.ImageRef{}, err
	}
	request := Request{
		App: j.app, Input: in.digest, Context: in.context, Platforms: j.platforms, Created: j.created,
		Takes: in.takes, Bases: in.bases, NoCache: j.flags.NoCache,
	}
	ref, found, err := j.find(ctx, request, in)
	if err != nil {
		return ref, err
	}
	if !found {
		j.explain(in)
	}
	if !found && !j.env.DryRun {
		if ref, err = j.make(ctx, request, in); err != nil {
			return protocol.ImageRef{}, err
		}
	}
	if j.env.DryRun {
		return ref, nil
	}
	return ref, j.remember(in)
}

// reference is what is known about the image before it is made.
func (j *job) reference(in input) protocol.ImageRef {
	ref := protocol.ImageRef{
		Metadata: j.app.Metadata, Repository: j.app.Repository(),
		Tag: protocol.TagOf(j.app.Version), Planned: j.env.DryRun,
		Platforms: ocilayout.PlatformStrings(j.platforms),
	}
	if in.known {
		ref.InputDigest = in.digest
	}
	return ref
}

// find looks for the image of the input everywhere it can be. Without one it returns
// the reference of the image to be made.
func (j *job) find(ctx context.Context, r Request, in input) (protocol.ImageRef, bool, error) {
	ref := j.reference(in)
	if j.flags.NoCache || !in.known {
		return ref, false, nil
	}
	image, found, err := j.backend.Find(ctx, r)
	if err != nil {
		return protocol.ImageRef{}, false, err
	}
	if found {
		if err := j.inspect(image); err != nil {
			j.tell("look", "the image that was built here before is not used: %v", err)
			found = false
		}
	}
	if found {
		j.explainFound(image)
		image.Metadata, image.Tag, image.InputDigest = ref.Metadata, ref.Tag, ref.InputDigest
		image.Repository = cmp.Or(image.Repository, ref.Repository)
		image.Unchanged, image.Planned = true, ref.Planned
		return image, true, nil
	}
	return j.findPublished(ctx, ref)
}

func (j *job) make(ctx context.Context, r Request, in input) (_ protocol.ImageRef, err error) {
	folder := filepath.Join(j.env.Cache, j.app.Name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return protocol.ImageRef{}, err
	}
	dir, err := os.MkdirTemp(folder, contextPrefix+"*")
	if err != nil {
		return protocol.ImageRef{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if r.Context, err = j.source.Context(ctx, dir); err == nil {
		err = checkoutModes(dir)
	}
	if err != nil {
		return protocol.ImageRef{}, err
	}
	r.Context.Text = in.context.Text
	verified := false
	r.Verify = func(ctx context.Context) error {
		verified = true
		return j.verify(ctx, in)
	}
	ref, err := j.backend.Build(ctx, r, j.reference(in))
	switch {
	case err == nil && !verified:
		err = j.verify(ctx, in)
	case err != nil && protocol.ExitCode(err) == protocol.ExitFailed && ctx.Err() == nil:
		// Files that change while they are read make strange errors.
		if changed := j.verify(ctx, in); errors.Is(changed, errChanged) {
			err = errChanged
		}
	}
	if err != nil {
		return protocol.ImageRef{}, err
	}
	j.keepBuilt(ref)
	return ref, j.prune()
}

// verify fails if the input has changed since.
func (j *job) verify(ctx context.Context, in input) error {
	now, err := j.look(ctx)
	if err != nil {
		return err
	}
	if now.digest != in.digest {
		return errChanged
	}
	return nil
}

// checkoutModes gives what was written into a folder modes that do not depend on the
// umask.
func checkoutModes(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() && !d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chmod(path, dockerfile.Checkout(info.Mode()))
	})
}
