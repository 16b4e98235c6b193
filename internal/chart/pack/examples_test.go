package pack

import (
	"path/filepath"
	"testing"

	"github.com/nationtech/harmony/internal/config"
)

// The charts of the examples are ones that pass.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../../examples/*/harmony.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		project, err := config.Load(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, app := range project.Apps {
			if app.Chart.Builder != nil {
				continue // its plugin is not built here
			}
			app.Version = "1.4.0"
			if _, err := Pack(t.Context(), app, image()); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}
