package helm

import (
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestSettings(t *testing.T) {
	s, err := readSettings("ci", map[string]any{
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
		if _, err := readSettings("ci", bad); protocol.ExitCode(err) != protocol.ExitInvalid {
			t.Errorf("%v: error %v, want invalid input", bad, err)
		}
	}
}

func TestRollbackIsTheDefaultButForLocal(t *testing.T) {
	for topology, want := range map[string]bool{"local": false, "ci": true, "office": true} {
		if s, err := readSettings(topology, nil); err != nil || s.rollback != want {
			t.Errorf("topology %s: rollback %t, %v, want %t", topology, s.rollback, err, want)
		}
	}
	if s, err := readSettings("local", map[string]any{"rollback": true}); err != nil || !s.rollback {
		t.Errorf("rollback %t, %v, want the setting's true", s.rollback, err)
	}
}
