package dockerfile

import (
	"strings"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/pkg/protocol"
)

// ParsePlatform reads a platform that an image is made for: os/arch[/variant],
// or the name of one of them, by any of their usual names. There has to be such
// a system.
func ParsePlatform(name string) (ocispec.Platform, error) {
	p, err := platforms.Parse(name)
	if alone, e := platforms.Parse("linux/" + name); e == nil && !strings.Contains(name, "/") && isArchitecture(alone.Architecture) {
		p, err = alone, nil
	}
	if err != nil {
		return p, protocol.Invalid("platform %q: %w", name, err).WithHint("a platform is os/arch[/variant], for example linux/amd64")
	}
	p = platforms.Normalize(p)
	if system, err := platforms.Parse(p.OS); err != nil || system.OS != p.OS || !isArchitecture(p.Architecture) {
		return p, protocol.Invalid("platform %q: there is no such operating system or architecture", name).
			WithHint("a platform is os/arch[/variant], for example linux/amd64 or linux/arm64")
	}
	return p, nil
}

// isArchitecture reports whether there is an architecture of this name. Only
// names of systems and architectures that there are can be read alone.
func isArchitecture(name string) bool {
	p, err := platforms.Parse(name)
	return err == nil && p.Architecture == name && p.OS != name
}
