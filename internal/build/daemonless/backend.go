package daemonless

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/base"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/config/settings"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

const format = "daemonless 2"

// backend makes images without a daemon. It is safe for use by several
// goroutines.
type backend struct {
	build.Layouts
	env      capability.Environment
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
	compression := "gzip"
	if p != nil && p.Adapter == "node-import" || auth.IsLoopback(b.destination) {
		compression = "none"
	}
	if err := settings.Of(env, "containerBuilder", settings.Table{"compression": settings.OneOf(&compression, "gzip", "none")}); err != nil {
		return nil, err
	}
	// A layout leaves out what the destination has, so it is for that one only.
	b.Layouts = build.Layouts{Store: ocilayout.Store{Dir: env.Cache, Stored: compression == "none"}, Format: format + " " + b.destination}
	return b, nil
}

// Options implements [build.Backend]: there are none.
func (b *backend) Options() map[string]string { return nil }

// Build implements [build.Backend].
func (b *backend) Build(ctx context.Context, r build.Request, ref protocol.ImageRef) (protocol.ImageRef, error) {
	return b.Make(ctx, r, ref, func(draft *ocilayout.Draft) ([]ocispec.Descriptor, error) {
		draft.Annotations = map[string]string{protocol.InputAnnotation: r.Input}
		registry := b.registry
		if r.NoCache {
			// Everything is fetched again, into a folder that is removed after the build.
			var err error
			if registry.Cache, err = draft.Dir(); err != nil {
				return nil, err
			}
		}
		made := recipe{request: r, registry: registry, destination: b.destination, patience: b.patience, progress: func(phase, format string, args ...any) {
			b.env.Progress(protocol.Event{Metadata: r.App.Metadata, Phase: phase, Message: fmt.Sprintf(format, args...)})
		}}
		return made.make(ctx, draft)
	})
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

// image evaluates the Dockerfile for a platform and packs the result.
func (r *recipe) image(ctx context.Context, draft *ocilayout.Draft, source *dockerfile.Folder, platform ocispec.Platform) (ocispec.Descriptor, error) {
	file, err := dockerfile.Parse(r.request.Context.Name, r.request.Context.Text)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	plan, err := r.target(ctx, file, source, platform)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	r.progress("pack", "%s for %s", r.request.Context.Name, ocilayout.PlatformString(platform))
	m := maker{recipe: r, draft: draft, trees: map[*state]*tree{}}
	return m.image(ctx, plan)
}

// otherAdapters is the hint of what is not supported here.
const otherAdapters = "the adapters docker and buildkit can do it; in a topology: spec: {containerBuilder: {adapter: docker}}"

// unsupported is an error for what another adapter can do.
func unsupported(name string, line int, format string, args ...any) *protocol.Error {
	return protocol.Unsupported("%s:%d: %s", name, line, fmt.Sprintf(format, args...)).WithHint(otherAdapters)
}

// Check implements [build.Backend].
func (b *backend) Check(_ context.Context, r build.Request) error {
	for _, p := range r.Platforms {
		if p.OS != "linux" {
			return protocol.Unsupported("platform %s: the adapter daemonless makes linux images only", ocilayout.PlatformString(p))
		}
	}
	file, err := dockerfile.Parse(r.Context.Name, r.Context.Text)
	if err != nil {
		return err
	}
	if f := file.Frontend; f != nil {
		return unsupported(file.Name, f.Line, "the syntax %s needs a builder that runs it", f.Name)
	}
	for name := range r.Context.Contexts {
		return protocol.Unsupported("%s: the context %s: the adapter daemonless has no named contexts", file.Name, name)
	}
	for _, p := range r.Platforms {
		stages, _, err := file.Needed(p, r.Context)
		if err != nil {
			return err
		}
		for _, i := range stages {
			for _, c := range file.Stages[i].Commands {
				if err := checkCommand(file, c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func checkCommand(f *dockerfile.File, c instructions.Command) error {
	line := dockerfile.Line(c.Location())
	switch c := c.(type) {
	case *instructions.RunCommand:
		return unsupported(f.Name, line, "RUN … needs a builder that runs commands")
	case *instructions.AddCommand:
		return checkAdd(f, c, line)
	}
	return nil
}

func checkAdd(f *dockerfile.File, c *instructions.AddCommand, line int) error {
	if c.KeepGitDir != nil {
		return unsupported(f.Name, line, "ADD --keep-git-dir needs a builder that has git")
	}
	for _, source := range c.SourcePaths {
		// A URL with variables is checked when they are known.
		if !dockerfile.IsRemote(source) || strings.Contains(source, "$") {
			continue
		}
		if _, err := newRemoteFile(source, c.Checksum); err != nil && !strings.Contains(c.Checksum, "$") {
			return dockerfile.Locate(f.Name, line, err)
		}
	}
	return nil
}
