package daemonless

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/base"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// format is a part of every layout's key. It changes with anything that makes
// another image of the same input.
const format = "daemonless 2"

// backend makes images without a daemon. It is safe for use by several
// goroutines.
type backend struct {
	env      capability.Environment
	store    ocilayout.Store
	registry base.Registry
	// destination is the host of the registry that images are pushed to, if they
	// are.
	destination string
	// patience is how long a server of ADD may be silent; silence.Limit when zero.
	patience time.Duration
}

// New makes the adapter.
func New(flags *build.Flags) capability.Adapter[capability.ContainerBuilder] {
	return func(_ context.Context, env capability.Environment) (capability.ContainerBuilder, error) {
		b, err := newBackend(env)
		if err != nil {
			return nil, err
		}
		return build.New(env, flags, b)
	}
}

// newBackend reads the settings. An error is of status protocol.ExitInvalid.
func newBackend(env capability.Environment) (*backend, error) {
	b := &backend{env: env, registry: build.Bases(env)}
	p := env.Topology.OCIRegistry
	if p != nil && p.Adapter == "oci" {
		b.destination, _, _ = strings.Cut(p.URL, "/")
	}
	stored := p != nil && p.Adapter == "node-import" || auth.IsLoopback(b.destination)
	for name, value := range env.Provider.Settings {
		switch {
		case name != "compression":
			return nil, protocol.Invalid("topology %q: containerBuilder: settings.%s: the adapter daemonless has only compression", env.Topology.Name, name)
		case value != "gzip" && value != "none":
			return nil, protocol.Invalid("topology %q: containerBuilder: settings.compression: %v is not one of gzip, none", env.Topology.Name, value)
		}
		stored = value == "none"
	}
	b.store = ocilayout.Store{Dir: env.Cache, Stored: stored}
	return b, nil
}

// Options implements [build.Backend]: there are none.
func (b *backend) Options() map[string]string { return nil }

// key is what the layout of an input is called. It leaves out of a layout what
// the destination has, so it is for that one only.
func (b *backend) key(input string) string {
	text := format + " " + b.destination + " " + input
	if b.store.Stored {
		text += " stored"
	}
	sum := sha256.Sum256([]byte(text))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Find implements [build.Backend].
func (b *backend) Find(_ context.Context, r build.Request) (protocol.ImageRef, bool, error) {
	image, found := b.store.Find(r.App.Name, b.key(r.Input))
	if !found {
		return protocol.ImageRef{}, false, nil
	}
	return located(protocol.ImageRef{}, image), true, nil
}

func located(ref protocol.ImageRef, image ocilayout.Image) protocol.ImageRef {
	ref.Location, ref.Path = protocol.InLayout, image.Path
	ref.Digest, ref.Platforms = image.Digest, image.Platforms
	return ref
}

// Build implements [build.Backend]. The image is an OCI layout in the cache.
func (b *backend) Build(ctx context.Context, r build.Request, ref protocol.ImageRef) (_ protocol.ImageRef, err error) {
	draft, err := b.store.Begin(r.App.Name)
	if err != nil {
		return ref, err
	}
	defer func() { err = errors.Join(err, draft.Discard()) }()
	draft.Annotations = map[string]string{protocol.InputAnnotation: r.Input}
	registry := b.registry
	if r.NoCache {
		// Everything is fetched again, into a folder that is removed after the build.
		if registry.Cache, err = draft.Dir(); err != nil {
			return ref, err
		}
	}
	made := recipe{request: r, registry: registry, destination: b.destination, patience: b.patience, progress: func(phase, format string, args ...any) {
		b.env.Progress(protocol.Event{Metadata: r.App.Metadata, Phase: phase, Message: fmt.Sprintf(format, args...)})
	}}
	images, err := made.make(ctx, draft)
	if err != nil {
		return ref, err
	}
	if err := r.Verify(ctx); err != nil {
		return ref, err
	}
	image, err := draft.Commit(b.key(r.Input), images)
	return located(ref, image), err
}

// recipe is how one request becomes images.
type recipe struct {
	request  build.Request
	registry base.Registry
	// destination and patience as in backend.
	destination string
	patience    time.Duration
	progress    func(phase, format string, args ...any)
}

// make writes the images of all platforms, in their order, into the draft.
func (r *recipe) make(ctx context.Context, draft *ocilayout.Draft) ([]ocispec.Descriptor, error) {
	source, err := r.request.Context.Open()
	if err != nil {
		return nil, err
	}
	defer source.Close()
	var images []ocispec.Descriptor
	for _, platform := range r.request.Platforms {
		image, err := r.image(ctx, draft, source, platform)
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	return images, nil
}

// image evaluates the Dockerfile for a platform and packs what it comes to.
func (r *recipe) image(ctx context.Context, draft *ocilayout.Draft, source *dockerfile.Folder, platform ocispec.Platform) (ocispec.Descriptor, error) {
	file, err := dockerfile.Parse(r.request.Context.Name, r.request.Context.Text)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	e := evaluator{file: file, recipe: r, platform: platform, source: source}
	plan, err := e.target(ctx)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	r.progress("pack", "%s for %s", r.request.Context.Name, ocilayout.PlatformString(platform))
	m := maker{recipe: r, draft: draft, trees: map[*state]*tree{}}
	return m.image(ctx, plan)
}
