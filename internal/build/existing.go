package build

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// existing is the image that image.ref names, by the digest that its tag stands for
// now. It has no input digest: nothing makes it.
func (b *builder) existing(ctx context.Context, app protocol.AppSpec) (protocol.ImageRef, error) {
	ref, err := app.Image.Existing()
	if err != nil {
		return protocol.ImageRef{}, protocol.Invalid("%s: %s.ref: %w", app.Name, app.ImageField(), err)
	}
	j := &job{builder: b, app: app}
	j.tell("resolve", "%s", ref)
	pinned := digest.Digest(ref.Digest)
	if pinned == "" {
		if pinned, err = b.bases.Digest(ctx, ref.String()); err != nil {
			return protocol.ImageRef{}, fmt.Errorf("%s: %s.ref: %w", app.Name, app.ImageField(), err)
		}
	}
	has, err := b.bases.Platforms(ctx, ref.String(), pinned)
	if err != nil {
		return protocol.ImageRef{}, fmt.Errorf("%s: %s.ref: %w", app.Name, app.ImageField(), err)
	}
	for _, text := range app.Image.Platforms {
		want, err := parsePlatforms([]string{text})
		if err != nil {
			return protocol.ImageRef{}, err
		}
		if _, err := b.bases.Resolve(ctx, ref.String(), pinned, want[0]); err != nil {
			return protocol.ImageRef{}, fmt.Errorf("%s: %s.platforms: %w", app.Name, app.ImageField(), err)
		}
	}
	ref.Metadata, ref.Digest, ref.Platforms = app.Metadata, pinned.String(), ocilayout.PlatformStrings(has)
	ref.Location, ref.Insecure = protocol.InRegistry, b.bases.MayBePlain(ref.Registry)
	ref.Unchanged, ref.Planned = true, b.env.DryRun
	if j.flags.Explain {
		j.tell(protocol.PhaseExplain, "not built: image.ref %s is %s", app.Image.Ref, ref.Digest)
	}
	return ref, nil
}
