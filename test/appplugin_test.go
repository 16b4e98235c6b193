package test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/internal/project/appplugin"
	"github.com/nationtech/harmony/pkg/protocol"
)

// harmony-fleet offers what harmony.yaml beside it describes: the same apps, but
// for the chart of fleet-operator and where its values come from.
func TestFleetPluginOffersTheFleet(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "harmony-fleet")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	build.Dir = filepath.Join("..", "examples", "fleet", "harmony-fleet")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Setenv("HARMONY_FLEET_ROOT", "")
	plugin, err := appplugin.Apps(t.Context(), discovery.Plugin{Name: "fleet", Path: binary})
	if err != nil {
		t.Fatal(err)
	}
	offered := plugin.Apps
	project, err := config.Load(filepath.Join("..", "examples", "fleet", config.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if len(offered) != len(project.Apps) {
		t.Fatalf("%d apps, want %d", len(offered), len(project.Apps))
	}
	for i, want := range project.Apps {
		got := offered[i]
		if got.Name == "fleet-operator" {
			if got.Chart.Builder == nil || got.Chart.Builder.Plugin != "harmony-fleet" {
				t.Errorf("chart of fleet-operator %+v", got.Chart)
			}
			got.Chart, got.Targets["production"] = want.Chart, want.Targets["production"]
		}
		if a, b := encoded(t, got), encoded(t, want); !bytes.Equal(a, b) {
			t.Errorf("harmony-fleet offers\n%s\nharmony.yaml has\n%s", a, b)
		}
	}
}

func encoded(t *testing.T, s protocol.Spec) []byte {
	t.Helper()
	d, err := protocol.Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	return d.Bytes()
}
