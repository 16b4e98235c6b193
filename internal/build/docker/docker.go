// Package docker is the adapter that has a Docker-compatible daemon make
// images: by the BuildKit in it, or by its classic builder where it has none, as
// podman's service. No docker command is run.
//
// The image stays in the daemon, under a name made of its input digest;
// publishing takes it out of there.
package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/internal/registry/daemon"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// New makes the adapter. It has no settings: DOCKER_HOST or the current docker
// context names the daemon, as for the docker command.
func New(flags *build.Flags) capability.Adapter[capability.ContainerBuilder] {
	return func(_ context.Context, env capability.Environment) (capability.ContainerBuilder, error) {
		for name := range env.Provider.Settings {
			return nil, protocol.Invalid("topology %q: containerBuilder: settings.%s: the adapter docker has no settings", env.Topology.Name, name).
				WithHint("the daemon is named by DOCKER_HOST or docker context use; the adapter buildkit has settings for caches and attestations")
		}
		return build.New(env, flags, &backend{env: env, getenv: os.Getenv})
	}
}

type backend struct {
	env    capability.Environment
	getenv func(string) string

	mu     sync.Mutex
	client *daemon.Client
}

// connect returns the connection that all builds share; after a failure it tries
// again.
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
// same image of a Dockerfile.
func (b *backend) Options() map[string]string { return nil }

// Check implements [build.Backend].
func (b *backend) Check(_ context.Context, r build.Request) error {
	if len(r.Platforms) > 1 {
		return protocol.Unsupported("the adapter docker makes images of one platform; %s asks for %d", r.App.Name, len(r.Platforms)).
			WithHint("the adapter buildkit, or daemonless without RUN, makes images of several platforms")
	}
	if b := r.App.Image.Buildable; b != nil && b.SBOM {
		return protocol.Unsupported("%s: image.buildable.sbom: a docker daemon keeps no SBOM next to an image", r.App.Name).
			WithHint("the adapters daemonless, auto and buildkit do; in a topology: spec: {containerBuilder: {adapter: daemonless}}")
	}
	return nil
}

// nameOf is the name of an input's image in the daemon.
func nameOf(r build.Request, ref protocol.ImageRef) string {
	tag := ref.Tag
	if ref.InputDigest != "" {
		tag = protocol.InputTag(ref.InputDigest)
	}
	return repository(r) + ":" + tag
}

// repository is that of an app's images in the daemon.
func repository(r build.Request) string {
	return "harmony/" + r.App.Repository()
}

// Find implements [build.Backend].
func (b *backend) Find(ctx context.Context, r build.Request) (protocol.ImageRef, bool, error) {
	image, found, err := b.image(ctx, nameOf(r, protocol.ImageRef{InputDigest: r.Input}))
	if !found {
		return protocol.ImageRef{}, false, err
	}
	return located(protocol.ImageRef{}, image), true, nil
}

// FindBase implements [build.BaseFinder]: the builder takes the daemon's own image
// of a name before it asks a registry.
func (b *backend) FindBase(ctx context.Context, name string) (digest.Digest, *dockerfile.Base, error) {
	image, found, err := b.image(ctx, name)
	if !found {
		return "", nil, err
	}
	return digest.Digest(image.ID), &dockerfile.Base{Env: image.Config.Env, OnBuild: image.Config.OnBuild}, nil
}

// image looks for an image in the daemon. One that does not answer has none; the
// registry may have the image all the same.
func (b *backend) image(ctx context.Context, name string) (daemon.Image, bool, error) {
	d, err := b.connect(ctx)
	if protocol.ExitCode(err) == protocol.ExitUnsupported {
		return daemon.Image{}, false, nil
	}
	if err != nil {
		return daemon.Image{}, false, err
	}
	image, err := d.Image(ctx, name)
	if daemon.IsNotFound(err) {
		return daemon.Image{}, false, nil
	}
	return image, err == nil, err
}

func located(ref protocol.ImageRef, image daemon.Image) protocol.ImageRef {
	platform := ocilayout.PlatformString(ocispec.Platform{OS: image.OS, Architecture: image.Architecture, Variant: image.Variant})
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
	if err := r.Verify(ctx); err != nil {
		return ref, err
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
	case d.Builder == "" && len(r.Context.Contexts) > 0:
		return "", protocol.Unsupported("the BuildKit of %s is too old for named contexts: it would ignore them", d).
			WithHint("Docker 23 or later has them, and so has the adapter buildkit")
	}
	return b.buildKit(ctx, d, r)
}

// hasBuildKit tries it out where the daemon does not say.
func hasBuildKit(ctx context.Context, d *daemon.Client) (bool, error) {
	switch d.Builder {
	case "1":
		return false, nil
	case "2":
		return true, nil
	}
	conn, err := d.Upgrade(ctx, "/grpc", "h2c", nil)
	switch {
	case errors.As(err, new(*daemon.Refusal)):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, conn.Close()
}

const (
	// keep is how many images of an app stay in the daemon in any case.
	keep = 5
	// pruneAge is how old any other is before its name is removed.
	pruneAge = 24 * time.Hour
)

// named is an image and when it got its name.
type named struct {
	name   string
	tagged time.Time
}

// prune removes the names of an app's old images, and so the images that have
// no other name.
func prune(ctx context.Context, d *daemon.Client, repository string) error {
	names, err := d.Tags(ctx, repository)
	if err != nil || len(names) <= keep {
		return err
	}
	var images []named
	for _, name := range names {
		image, err := d.Image(ctx, name)
		switch {
		case daemon.IsNotFound(err):
			continue
		case err != nil:
			return err
		}
		images = append(images, named{name, image.Tagged})
	}
	for _, image := range outdated(images, time.Now()) {
		err := d.Untag(ctx, image.name)
		if err != nil && !errors.As(err, new(*daemon.Refusal)) { // gone already, or in use
			return err
		}
	}
	return nil
}

// outdated are the images that need not be kept.
func outdated(images []named, now time.Time) []named {
	slices.SortFunc(images, func(a, b named) int { return b.tagged.Compare(a.tagged) })
	rest := images[min(keep, len(images)):]
	return slices.DeleteFunc(rest, func(image named) bool { return now.Sub(image.tagged) < pruneAge })
}
