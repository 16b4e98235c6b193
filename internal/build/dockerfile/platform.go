package dockerfile

import (
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/pkg/protocol"
)

// ParsePlatform reads os/arch[/variant].
func ParsePlatform(name string) (ocispec.Platform, error) {
	parts := strings.Split(name, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return ocispec.Platform{}, protocol.Invalid("platform %q is not os/arch, for example linux/amd64", name)
	}
	p := ocispec.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}
