package base

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/ocilayout"
)

// choose picks the manifest of a platform out of an index, the best of those
// that fit. One without a platform may be for any.
func choose(manifests []ocispec.Descriptor, want ocispec.Platform) (digest.Digest, error) {
	fit := platforms.Only(want)
	var best *ocispec.Descriptor
	var has []string
	for i, m := range manifests {
		switch {
		case m.Platform == nil:
			if best == nil {
				best = &manifests[i]
			}
		case m.Platform.OS == "unknown": // attestations
		case !fit.Match(*m.Platform):
			has = append(has, ocilayout.PlatformString(*m.Platform))
		case best == nil || best.Platform == nil || fit.Less(*m.Platform, *best.Platform):
			best = &manifests[i]
		}
	}
	if best != nil {
		return best.Digest, best.Digest.Validate()
	}
	slices.Sort(has)
	return "", fmt.Errorf("has no image for %s (it has %s)", ocilayout.PlatformString(want), strings.Join(slices.Compact(has), ", "))
}

// Fits reports whether the image can run on a platform. One that tells none may
// run anywhere.
func (i *Image) Fits(want ocispec.Platform) bool {
	has := i.Config.Platform
	has.OS, has.Architecture = cmp.Or(has.OS, want.OS), cmp.Or(has.Architecture, want.Architecture)
	return platforms.Only(want).Match(has)
}
