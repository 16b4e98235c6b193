package daemonless

import (
	"context"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/buildable"
	"github.com/nationtech/harmony/internal/build/layout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// progress tells of a phase that begins.
type progress func(phase, format string, args ...any)

// golang is the recipe of the buildable go.
type golang struct {
	*buildable.Go
	progress progress
}

func (b *Builder) golang(app protocol.AppSpec, platforms []ocispec.Platform, memory string, report progress) recipe {
	return golang{&buildable.Go{
		Source: *app.Image.Buildable, Root: app.ProjectRoot, Platforms: platforms, Created: b.created, Memory: memory,
	}, report}
}

func (g golang) Make(ctx context.Context, draft *layout.Draft) ([]ocispec.Descriptor, error) {
	folder, err := draft.Dir()
	if err != nil {
		return nil, err
	}
	var images []ocispec.Descriptor
	for _, p := range g.Platforms {
		g.progress("compile", "%s for %s", g.Source.Main, layout.PlatformString(p))
		content, err := g.Compile(ctx, p, folder)
		if err != nil {
			return nil, err
		}
		g.progress("pack", "image for %s", layout.PlatformString(p))
		var layers []layout.Layer
		for _, entries := range content.Layers {
			layer, err := draft.WriteLayer(ctx, entries, g.Created)
			if err != nil {
				return nil, err
			}
			layers = append(layers, layer)
		}
		image, err := draft.AddImage(content.Config, layers)
		if err != nil {
			return nil, err
		}
		images = append(images, image)
	}
	return images, nil
}
