package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/monitor/prometheusoperator"
	"github.com/nationtech/harmony/pkg/capability"
)

// loadText loads a harmony.yaml of this text.
func loadText(t *testing.T, text string) *config.Project {
	t.Helper()
	file := filepath.Join(t.TempDir(), "harmony.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	project, err := config.Load(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return project
}

// What docs/monitoring.md says is what harmony.yaml and the adapter take.
func TestMonitoringDocument(t *testing.T) {
	const head = "apiVersion: harmony.nationtech.io/v1\n"
	blocks := blocksOf(t, "../docs/monitoring.md", "yaml")
	if len(blocks) != 3 {
		t.Fatalf("%d blocks", len(blocks))
	}
	if p, err := loadText(t, blocks[0]).Pipeline(""); err != nil || len(p.Pipeline) != 7 {
		t.Errorf("pipeline %v, %v", p, err)
	}
	app := loadText(t, head+"kind: AppSpec\nmetadata: {name: shop}\n"+blocks[1]+"  image: {buildable: {type: go}}\n  chart: {path: chart, image: {value: image}}\n").Apps[0]
	if m := app.Monitoring; m == nil || m.Metrics == nil || len(m.Alerts) != 1 || len(m.Routes) != 4 {
		t.Errorf("monitoring %+v", m)
	}
	topology := loadText(t, head+"kind: Topology\nmetadata: {name: ci}\nspec:\n  "+strings.ReplaceAll(strings.TrimSpace(blocks[2]), "\n", "\n  ")+"\n").Topologies[0]
	if _, err := prometheusoperator.New(nil)(t.Context(), capability.Environment{Topology: topology, Provider: *topology.Monitoring}); err != nil {
		t.Error(err)
	}
}

func TestConfigurationOfPipeline(t *testing.T) {
	for _, block := range blocksOf(t, "../docs/configuration.md", "yaml") {
		if !strings.Contains(block, "kind: Pipeline\n") {
			continue
		}
		if p, err := loadText(t, block).Pipeline(""); err != nil || len(p.Pipeline) != 6 {
			t.Errorf("pipeline %v, %v", p, err)
		}
		return
	}
	t.Fatal("docs/configuration.md has no pipeline")
}
