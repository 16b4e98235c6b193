package flux

import (
	"strings"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestReadSettings(t *testing.T) {
	s, err := readFrom(map[string]any{
		"timeout": "90s", "interval": "1h", "maxHistory": float64(3), "retries": float64(0), "sourceNamespace": "flux-system",
		"secretRef": "registry", "serviceAccount": "deployer", "rollback": false, "drift": "report",
		"driftIgnore": []any{"/spec/replicas"}, "force": true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.timeout != 90*time.Second || s.interval != time.Hour || s.maxHistory != 3 || s.sourceNamespace != "flux-system" ||
		s.secretRef != "registry" || s.serviceAccount != "deployer" || s.rollback || !s.reportDrift || len(s.driftIgnore) != 1 || !s.force {
		t.Errorf("settings %+v", s)
	}
	if s, err := readFrom(nil); err != nil || !s.rollback || s.timeout != 5*time.Minute {
		t.Errorf("default settings %+v, %v", s, err)
	}
}

func TestSettingsThatAreWrong(t *testing.T) {
	for name, value := range map[string]any{
		"timeout": "soon", "interval": float64(5), "maxHistory": float64(0), "retries": 0.5, "sourceNamespace": "",
		"secretRef": float64(1), "rollback": "yes", "drift": "enabled", "driftIgnore": []any{"spec"}, "tiemout": "1m",
	} {
		_, err := readFrom(map[string]any{name: value})
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v: error %v, want invalid input that names it", name, value, err)
		}
		if name == "tiemout" && !strings.Contains(protocol.HintOf(err), `"timeout"`) {
			t.Errorf("hint %q", protocol.HintOf(err))
		}
	}
}

func readFrom(from map[string]any) (options, error) {
	return readSettings(capability.Environment{Provider: protocol.Provider{Settings: from}})
}
