package delivery

import (
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestDowngrade(t *testing.T) {
	yes, no := true, false
	for _, test := range []struct {
		name, topology, target string
		setting                *bool
		version, has           string
		refused                bool
	}{
		{"older, in ci", "ci", "staging", nil, "1.4.0", "1.5.0", true},
		{"older, in production", "company", "production", nil, "1.4.0", "1.5.0", true},
		{"older, elsewhere", "local", "staging", nil, "1.4.0", "1.5.0", false},
		{"older, elsewhere, if the target says so", "local", "staging", &yes, "1.4.0", "1.5.0", true},
		{"older, in production, if the target allows it", "ci", "production", &no, "1.4.0", "1.5.0", false},
		{"the same", "ci", "staging", nil, "1.4.0", "1.4.0", false},
		{"newer", "ci", "staging", nil, "1.10.0", "1.9.0", false},
		{"newer by its build only", "ci", "staging", nil, "1.4.0+1", "1.4.0+2", false},
		{"a pre-release of what is there", "ci", "staging", nil, "1.4.0-rc.1", "1.4.0", true},
		{"development after the release", "ci", "staging", nil, "1.4.1-dev.1.g0a1b2c3d4e5f", "1.4.0", false},
		{"fewer commits", "ci", "staging", nil, "1.4.1-dev.2.gffffffffffff", "1.4.1-dev.10.g000000000000", true},
		{"another commit at the same distance", "ci", "staging", nil, "1.4.1-dev.2.g000000000000", "1.4.1-dev.2.gffffffffffff", false},
		{"committed after a try", "ci", "staging", nil, "1.4.1-dev.2.g000000000000", "1.4.1-dev.2.g000000000000.dirty", false},
		{"after a pre-release, fewer commits", "ci", "staging", nil, "1.4.0-rc.1.dev.1.g000000000000", "1.4.0-rc.1.dev.2.g000000000000", true},
		{"nothing there", "ci", "staging", nil, "1.4.0", "", false},
		{"something else there", "ci", "staging", nil, "1.4.0", "latest", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			topology := protocol.Topology{
				Metadata: protocol.Metadata{Name: test.topology},
				Targets:  map[string]protocol.Target{test.target: {NoDowngrade: test.setting}},
			}
			app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "web", Version: test.version}}
			err := Downgrade(topology, app, test.target, test.has)
			if refused := protocol.ExitCode(err) == protocol.ExitUnsupported && err != nil; refused != test.refused || err != nil && !refused {
				t.Errorf("%s over %s: %v, want refused: %t", test.version, test.has, err, test.refused)
			}
		})
	}
}
