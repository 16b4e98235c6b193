package base

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/ocilayout"
)

// choose picks the manifest of a platform out of an index.
func choose(manifests []ocispec.Descriptor, want ocispec.Platform) (digest.Digest, error) {
	var has []string
	for _, m := range manifests {
		if m.Platform == nil || m.Platform.OS == "unknown" {
			continue // attestations, and what cannot be known
		}
		if fits(*m.Platform, want) {
			return m.Digest, m.Digest.Validate()
		}
		has = append(has, ocilayout.PlatformString(*m.Platform))
	}
	slices.Sort(has)
	return "", fmt.Errorf("has no image for %s (it has %s)", ocilayout.PlatformString(want), strings.Join(slices.Compact(has), ", "))
}

// fits compares platforms; an absent variant is the usual one.
func fits(has, want ocispec.Platform) bool {
	usual := map[string]string{"arm64": "v8", "arm": "v7", "amd64": "v1"}[want.Architecture]
	return has.OS == want.OS && has.Architecture == want.Architecture &&
		cmp.Or(has.Variant, usual) == cmp.Or(want.Variant, usual)
}
