package docker

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/solve"
	"github.com/nationtech/harmony/internal/registry/daemon"
)

// exporter is that of the BuildKit in a daemon: into the daemon.
const exporter = "moby"

// buildKit builds with the BuildKit in the daemon.
func (b *backend) buildKit(ctx context.Context, d *daemon.Client, r build.Request) (id string, err error) {
	c, err := client.New(ctx, "", client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return d.Upgrade(ctx, "/grpc", "h2c", nil)
	}), client.WithSessionDialer(func(ctx context.Context, to string, about map[string][]string) (net.Conn, error) {
		return d.Upgrade(ctx, "/session", to, http.Header(about))
	}))
	if err != nil {
		return "", err
	}
	defer c.Close()
	if r.Bases, err = b.foreign(ctx, r.Bases); err != nil {
		return "", err
	}
	made, err := solve.Image(ctx, c, r, solve.Options{
		Export: client.ExportEntry{Type: exporter}, Progress: b.env.Progress,
	})
	if err != nil {
		return "", err
	}
	id = made.Response[exptypes.ExporterImageDigestKey]
	if _, err := digest.Parse(id); err != nil {
		return "", fmt.Errorf("the daemon at %s did not report which image it made: %w", d, err)
	}
	return id, nil
}

// foreign are the base images that the daemon has not got itself: only they
// have a digest that a registry knows.
func (b *backend) foreign(ctx context.Context, bases map[string]digest.Digest) (map[string]digest.Digest, error) {
	rest := maps.Clone(bases)
	for name := range bases {
		_, own, err := b.FindBase(ctx, name)
		if err != nil {
			return nil, err
		}
		if own != nil {
			delete(rest, name)
		}
	}
	return rest, nil
}
