package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/registry/daemon"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// New makes the adapter. It has no settings: which daemon is used is said by
// DOCKER_HOST or the current docker context, as for the docker command.
func New(flags *build.Flags) capability.Adapter[capability.ContainerBuilder] {
	return func(_ context.Context, env capability.Environment) (capability.ContainerBuilder, error) {
		for name := range env.Provider.Settings {
			return nil, protocol.Invalid("topology %q: containerBuilder: settings.%s: the adapter docker has no settings", env.Topology.Name, name).
				WithHint("the daemon is named by DOCKER_HOST or docker context use; the adapter buildkit has settings for caches and attestations")
		}
		return build.New(env, flags, &backend{env: env, getenv: os.Getenv})
	}
}

// backend is the build.Backend.
type backend struct {
	env    capability.Environment
	getenv func(string) string

	mu     sync.Mutex
	client *daemon.Client
}

// connect is the connection that all builds share; a failed one is tried again.
func (b *backend) connect(ctx context.Context) (*daemon.Client, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client != nil {
		return b.client, nil
	}
	client, err := daemon.Connect(ctx, b.getenv)
	if err == nil {
		b.client = client
	}
	return client, err
}

// Options implements [build.Backend]. There are none: the two builders make the
// same of a Dockerfile.
func (b *backend) Options() map[string]string { return nil }

// Check implements [build.Backend].
func (b *backend) Check(_ context.Context, r build.Request) error {
	if len(r.Platforms) > 1 {
		return protocol.Unsupported("the adapter docker makes images of one platform; %s asks for %d", r.App.Name, len(r.Platforms)).
			WithHint("the adapter buildkit, or daemonless without RUN, makes images of several platforms")
	}
	return nil
}

// nameOf is what the image of an input is called in the daemon.
func nameOf(r build.Request, ref protocol.ImageRef) string {
	tag := ref.Tag
	if ref.InputDigest != "" {
		tag = protocol.InputTag(ref.InputDigest)
	}
	return repository(r) + ":" + tag
}

// repository is where the images of an app are in the daemon.
func repository(r build.Request) string {
	if r.App.Image.Repository != "" {
		return "harmony/" + r.App.Image.Repository
	}
	return "harmony/" + r.App.Name
}

// Find implements [build.Backend]. A daemon that does not answer has nothing;
// the image may be in the registry all the same.
func (b *backend) Find(ctx context.Context, r build.Request) (protocol.ImageRef, bool, error) {
	d, err := b.connect(ctx)
	if err != nil {
		if protocol.ExitCode(err) == protocol.ExitUnsupported {
			return protocol.ImageRef{}, false, nil
		}
		return protocol.ImageRef{}, false, err
	}
	image, err := d.Image(ctx, nameOf(r, protocol.ImageRef{InputDigest: r.Input}))
	switch {
	case daemon.IsNotFound(err):
		return protocol.ImageRef{}, false, nil
	case err != nil:
		return protocol.ImageRef{}, false, err
	}
	return located(protocol.ImageRef{}, image), true, nil
}

// FindBase tells the daemon's own image of a name, which the builder takes
// before it asks a registry.
func (b *backend) FindBase(ctx context.Context, name string) (digest.Digest, *dockerfile.Base, error) {
	d, err := b.connect(ctx)
	if err != nil {
		if protocol.ExitCode(err) == protocol.ExitUnsupported {
			return "", nil, nil
		}
		return "", nil, err
	}
	image, err := d.Image(ctx, name)
	switch {
	case daemon.IsNotFound(err):
		return "", nil, nil
	case err != nil:
		return "", nil, err
	}
	return digest.Digest(image.ID), &dockerfile.Base{Env: image.Config.Env, OnBuild: image.Config.OnBuild}, nil
}

func located(ref protocol.ImageRef, image daemon.Image) protocol.ImageRef {
	platform := image.OS + "/" + image.Architecture
	if image.Variant != "" {
		platform += "/" + image.Variant
	}
	ref.Location, ref.ID, ref.Platforms = protocol.InDaemon, image.ID, []string{platform}
	return ref
}

// Build implements [build.Backend]. The image gets its name last.
func (b *backend) Build(ctx context.Context, r build.Request, ref protocol.ImageRef) (protocol.ImageRef, error) {
	d, err := b.connect(ctx)
	if err != nil {
		return ref, err
	}
	id, err := b.build(ctx, d, r)
	if err != nil {
		return ref, err
	}
	if r.Verify != nil {
		if err := r.Verify(ctx); err != nil {
			return ref, err
		}
	}
	if err := d.Tag(ctx, id, nameOf(r, ref)); err != nil {
		return ref, fmt.Errorf("name the image: %w", err)
	}
	image, err := d.Image(ctx, id)
	if err != nil {
		return ref, err
	}
	return located(ref, image), prune(ctx, d, repository(r))
}

// build returns the ID of the image.
func (b *backend) build(ctx context.Context, d *daemon.Client, r build.Request) (string, error) {
	kit, err := hasBuildKit(ctx, d)
	if err != nil {
		return "", err
	}
	switch {
	case !kit:
		return b.classic(ctx, d, r)
	case d.Info().Builder == "" && len(r.Context.Contexts) > 0:
		return "", protocol.Unsupported("the BuildKit of %s is too old for named contexts: it would pass over them", d).
			WithHint("Docker 23 or later has them, and so has the adapter buildkit")
	}
	return b.buildKit(ctx, d, r)
}

// hasBuildKit asks for it where the daemon does not tell.
func hasBuildKit(ctx context.Context, d *daemon.Client) (bool, error) {
	switch d.Info().Builder {
	case "1":
		return false, nil
	case "2":
		return true, nil
	}
	conn, err := d.Upgrade(ctx, "/grpc", "h2c", nil)
	var refused *daemon.Refusal
	switch {
	case errors.As(err, &refused):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, conn.Close()
}

func platformOf(r build.Request) ocispec.Platform { return r.Platforms[0] }
