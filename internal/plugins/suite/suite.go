// Package suite holds what the binaries of a build share: their version, and the
// names of their commands.
package suite

import "runtime/debug"

// version is set by the linker: -X github.com/nationtech/harmony/internal/plugins/suite.version=1.4.0
var version string

// Version is the suite's version: the one given at link time, else that of the
// module that go install built, else 0.0.0-dev.
func Version() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && len(info.Main.Version) > 1 && info.Main.Version[0] == 'v' {
		return info.Main.Version[1:]
	}
	return "0.0.0-dev"
}
