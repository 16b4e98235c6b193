package delivery

import (
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Downgrade fails, where the topology refuses that, for an app whose version is older
// than the one that the target has. That is "" where it is not known. Development
// versions of the same number of commits have no order.
func Downgrade(topology protocol.Topology, app protocol.AppSpec, target, has string) error {
	if !topology.RefusesDowngrade(target) || !older(app.Version, has) {
		return nil
	}
	return protocol.Unsupported("%s has %s %s, which is newer than %s: it is not replaced by an older version", target, app.Name, has, app.Version).
		WithHint("harmony rollback goes back to an earlier release; --no-downgrade=false deploys this one all the same")
}

// MayReplace is [Downgrade] for the app and the target of the call.
func (c *Call) MayReplace(has string) error { return Downgrade(c.Topology, c.App, c.Target, has) }

func older(version, than string) bool {
	a, err := semver.StrictNewVersion(version)
	if err != nil {
		return false
	}
	b, err := semver.StrictNewVersion(than)
	return err == nil && ordered(*a).LessThan(ordered(*b))
}

// ordered is a version without what has no order: the commit of a development
// version, and what comes after it, as in 1.4.1-dev.3.g0a1b2c3d4e5f.dirty.
func ordered(v semver.Version) *semver.Version {
	parts := strings.Split(v.Prerelease(), ".")
	for i := range parts {
		if parts[i] == "dev" {
			parts = parts[:min(i+2, len(parts))]
			break
		}
	}
	short, err := v.SetPrerelease(strings.Join(parts, "."))
	if err != nil {
		return &v
	}
	return &short
}
