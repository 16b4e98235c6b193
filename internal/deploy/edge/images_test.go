package edge

import (
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// All images of an app are in the state that devices follow, and are told.
func TestSeveralImages(t *testing.T) {
	w := newWorld(t)
	worker := w.image
	worker.Repository, worker.Digest = "app-worker", imageTwo
	w.image.Images = map[string]protocol.ImageRef{"worker": worker}
	if _, err := w.try(); protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "no container takes "+worker.String()) {
		t.Errorf("a chart without the worker: %v", err)
	}
	w.templates["worker.yaml"] = strings.NewReplacer("{{ .Values.image }}", worker.String(), "name: {{ .Release.Name }}}", "name: worker}", "settings", "worker").Replace(template)
	result := w.deploy(protocol.OutcomePublished)
	if result.Published.Images["worker"] != imageTwo || result.Published.Image != imageOne {
		t.Errorf("published %+v", result.Published)
	}
	entries, err := w.adapter().Status(t.Context(), w.app, target)
	if err != nil || len(entries) == 0 || entries[0].Images["worker"] != imageTwo {
		t.Errorf("status %+v, %v", entries, err)
	}
	onMachine := worker
	onMachine.Location = protocol.InDaemon
	w.image.Images["worker"] = onMachine
	if _, err := w.try(); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "app-worker") {
		t.Errorf("an image that no device can pull: %v", err)
	}
}
