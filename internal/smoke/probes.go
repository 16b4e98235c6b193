package smoke

import (
	"fmt"

	"github.com/nationtech/harmony/pkg/protocol"
)

// newProbes makes the probe of every check. What is wrong with a check itself
// is found here, before any is run, as an error of status protocol.ExitInvalid.
func newProbes(app protocol.AppSpec, cluster *cluster) ([]probe, error) {
	probes := make([]probe, len(app.Smoke))
	for i, check := range app.Smoke {
		p, err := newProbe(app, check, cluster)
		if err != nil {
			return nil, protocol.Invalid("app %s: spec.smoke[%d] (%s): %w", app.Name, i, check.Name, err)
		}
		probes[i] = p
	}
	return probes, nil
}

func newProbe(app protocol.AppSpec, check protocol.SmokeCheck, cluster *cluster) (probe, error) {
	switch {
	case check.Rollout != nil:
		return newRolloutProbe(app.Name, *check.Rollout, cluster)
	case check.HTTP != nil:
		return newHTTPProbe(app.ProjectRoot, *check.HTTP, cluster)
	case check.TCP != nil:
		return tcpProbe{check: *check.TCP, cluster: cluster}, nil
	}
	return nil, fmt.Errorf("needs rollout, http or tcp")
}
