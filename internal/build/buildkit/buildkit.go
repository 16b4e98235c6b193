// Package buildkit is the adapter for BuildKit daemons, on this machine or
// elsewhere: one, or a farm of them.
//
// Its settings in the topology are:
//
//	address: tcp://builder.example.com:1234   # or addresses: [...], a farm
//	tls: {ca: ca.pem, cert: cert.pem, key: key.pem, serverName: builder}
//	cache:
//	  from: ["type=registry,ref=registry.example.com/cache/{app}"]
//	  to: [{type: registry, ref: "registry.example.com/cache/{app}", mode: max}]
//	push: auto                # or always, never
//	provenance: max           # or min: SLSA v1
//	sbom: {generator: registry.example.com/scanner:1}
//	concurrency: 2            # builds at a time on a worker of a farm
//
// Addresses have the schemes unix, tcp, ssh, docker-container and kube-pod; the
// last three run ssh, docker and kubectl. Without any, BUILDKIT_HOST is taken.
//
// The image goes from the builder straight to the topology's registry, by
// digest and without a tag, where the builder reaches it; else it is written to disk
// as an OCI layout.
package buildkit

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/moby/buildkit/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/solve"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Host is the environment variable with the builder's address, where the
// topology has none.
const Host = "BUILDKIT_HOST"

const format = "buildkit 2"

type backend struct {
	build.Layouts
	env      capability.Environment
	settings options
	farm     *farm
	registry *destination // nil without one to push to
}

// New makes the adapter. Without an address in the settings or BUILDKIT_HOST it
// is an error of status protocol.ExitUnsupported.
func New(flags *build.Flags) capability.Adapter[capability.ContainerBuilder] {
	return func(_ context.Context, env capability.Environment) (capability.ContainerBuilder, error) {
		b, err := newBackend(env, os.Getenv)
		if err != nil {
			return nil, err
		}
		return build.New(env, flags, b)
	}
}

func newBackend(env capability.Environment, getenv func(string) string) (*backend, error) {
	s, err := readSettings(env, getenv(Host))
	if err != nil {
		return nil, err
	}
	if len(s.Addresses) == 0 {
		return nil, protocol.Unsupported("topology %q: the adapter buildkit has no builder: neither containerBuilder.settings.address nor %s is set", env.Topology.Name, Host).
			WithHint("set settings.address (or addresses) of spec.containerBuilder in harmony.yaml, or %s, for example to unix:///run/buildkit/buildkitd.sock", Host)
	}
	b := &backend{
		Layouts: build.Layouts{Store: ocilayout.Store{Dir: env.Cache}, Format: format},
		env:     env, settings: s, farm: newFarm(s.Addresses, s.Concurrency), registry: openDestination(env.Topology.OCIRegistry),
	}
	if s.Push == pushAlways && b.registry == nil {
		return nil, protocol.Unsupported("topology %q: containerBuilder.settings.push is always, but ociRegistry is not of the adapter oci with a url", env.Topology.Name)
	}
	return b, nil
}

// Options implements [build.Backend].
func (b *backend) Options() map[string]string {
	options := map[string]string{}
	if b.settings.Provenance != "" {
		options["provenance"] = b.settings.Provenance
	}
	if b.settings.sbom != "" {
		options["sbom"] = b.settings.sbom
	}
	return options
}

// Check implements [build.Backend].
func (b *backend) Check(_ context.Context, r build.Request) error {
	if source := r.App.Image.Buildable; source != nil && source.SBOM && b.settings.Push == pushAlways {
		return protocol.Unsupported("%s: image.buildable.sbom: the SBOM is put next to the image on this machine, but containerBuilder.settings.push is always", r.App.Name).
			WithHint("take push out: harmony publish pushes the image with its SBOM")
	}
	for name, value := range r.Context.Contexts {
		if strings.HasPrefix(value, "target:") {
			return protocol.Unsupported("%s: the context %s: a builder's Dockerfile frontend does not take %s", r.Context.Name, name, value).
				WithHint("name the stage itself in FROM or --from")
		}
	}
	return nil
}

// Build implements [build.Backend]. If a worker is lost during the build, the next one
// tries.
func (b *backend) Build(ctx context.Context, r build.Request, ref protocol.ImageRef) (protocol.ImageRef, error) {
	s := search{backend: b, app: r.App, lost: map[string]bool{}, busy: map[string]bool{}}
	for {
		address, c, err := s.next(ctx)
		if err != nil {
			return ref, err
		}
		built, err := b.buildOn(ctx, c, address, r, ref)
		b.farm.release(address)
		if err == nil || ctx.Err() != nil || !solve.IsUnreachable(err) {
			return built, err
		}
		s.lose(address, err)
	}
}

// hurry is how long a builder may take to notice that a build is cancelled before the
// connection is closed, which also cancels it.
const hurry = time.Second

// buildOn builds on one worker and closes the connection.
func (b *backend) buildOn(ctx context.Context, c *client.Client, address string, r build.Request, ref protocol.ImageRef) (_ protocol.ImageRef, err error) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-done:
		case <-time.After(hurry):
			_ = c.Close() // the second Close reports nothing new
		}
	})
	defer func() {
		close(done)
		stop()
		_ = c.Close() // nothing that matters is under way
	}()
	o := solve.Options{
		CacheFrom: forApp(b.settings.cacheFrom, r.App.Name), CacheTo: forApp(b.settings.cacheTo, r.App.Name),
		SBOM: b.settings.sbom, Provenance: b.settings.Provenance, Progress: b.env.Progress,
	}
	if b.pushes(address) && len(r.Context.SBOMs) == 0 {
		pushed, err := b.push(ctx, c, r, o, ref)
		if err == nil || ctx.Err() != nil || b.settings.Push == pushAlways || !isOutOfReach(err) {
			return pushed, err
		}
		b.tell(r.App, "the builder cannot push to %s, so the image is written to disk: %v", b.registry.host, err)
	}
	return b.Make(ctx, r, ref, func(draft *ocilayout.Draft) ([]ocispec.Descriptor, error) {
		image, err := solve.ToLayout(ctx, c, r, o, draft)
		return []ocispec.Descriptor{image}, err
	})
}

func (b *backend) pushes(address string) bool {
	switch {
	case b.registry == nil || b.settings.Push == pushNever:
		return false
	case b.settings.Push == pushAlways:
		return true
	}
	return !b.registry.isElsewhere(address)
}

// push has the builder push the image, untagged, so that nothing finds it yet.
func (b *backend) push(ctx context.Context, c *client.Client, r build.Request, o solve.Options, ref protocol.ImageRef) (protocol.ImageRef, error) {
	path := b.registry.path(ref.Repository)
	o.Export = solve.Push(b.registry.host+"/"+path, b.registry.guard.MayBePlain())
	made, err := solve.Image(ctx, c, r, o)
	if err != nil {
		return ref, err
	}
	sum := made.Descriptor.Digest.String()
	if sum == "" {
		return ref, fmt.Errorf("the builder did not report what it pushed to %s", b.registry.host)
	}
	if err := b.registry.verify(ctx, ref.Repository, sum); err != nil {
		return ref, err
	}
	if err := r.Verify(ctx); err != nil {
		return ref, err
	}
	ref.Registry, ref.Repository, ref.Digest = b.registry.host, path, sum
	ref.Location, ref.Insecure = protocol.InRegistry, b.registry.guard.MayBePlain()
	return ref, nil
}

func (b *backend) tell(app protocol.AppSpec, format string, args ...any) {
	b.env.Progress(protocol.Event{Metadata: app.Metadata, Phase: protocol.PhaseStep, Message: fmt.Sprintf(format, args...)})
}
