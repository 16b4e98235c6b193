package helm

import (
	"testing"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestSettings(t *testing.T) {
	s, err := read(map[string]any{
		"timeout": "90s", "maxHistory": float64(3), "drift": "report", "crds": "upgrade", "tests": true, "pullSecret": "pull",
		"wait":            map[string]any{"Certificate.cert-manager.io": "condition=Ready", "Service": "ready"},
		"namespaceLabels": map[string]any{"pod-security.kubernetes.io/enforce": "restricted"},
	})
	if err != nil || s.timeout.Seconds() != 90 || s.maxHistory != 3 || !s.reportDrift || s.crds != crdsUpgrade || !s.tests || s.pullSecret != "pull" ||
		s.wait["Certificate.cert-manager.io"] != "condition=Ready" || s.namespaceLabels["pod-security.kubernetes.io/enforce"] != "restricted" {
		t.Errorf("settings %+v, error %v", s, err)
	}
	for _, bad := range []map[string]any{
		{"timeout": "soon"}, {"timeout": 5.0}, {"timeout": "-1s"}, {"maxHistory": 0.5}, {"wait": true}, {"wait": map[string]any{"X": "condition="}},
		{"drift": "ignore"}, {"crds": true}, {"rollback": "yes"}, {"pullSecret": "a b"}, {"namespaceLabels": map[string]any{"a": "b c"}}, {"unknown": 1},
	} {
		if _, err := read(bad); protocol.ExitCode(err) != protocol.ExitInvalid {
			t.Errorf("%v: error %v, want invalid input", bad, err)
		}
	}
}

func TestRollbackIsTheDefault(t *testing.T) {
	if s, err := read(nil); err != nil || !s.rollback {
		t.Errorf("rollback %t, %v", s.rollback, err)
	}
	// What a topology is called says nothing.
	s, err := readSettings(capability.Environment{Topology: protocol.Topology{Metadata: protocol.Metadata{Name: "local"}}})
	if err != nil || !s.rollback {
		t.Errorf("topology local of a project: rollback %t, %v", s.rollback, err)
	}
}

func read(from map[string]any) (options, error) {
	return readSettings(capability.Environment{Provider: protocol.Provider{Settings: from}})
}
