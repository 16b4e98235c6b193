package edge

import (
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Devices go back to the state before a deploy, if that is what they follow.
func TestTakesBack(t *testing.T) {
	w := newWorld(t)
	back := func(from protocol.DeployResult) (protocol.DeployResult, error) {
		return w.adapter().TakeBack(t.Context(), w.app, target, capability.Setback{Deployed: from}, nil)
	}
	first := w.deploy(protocol.OutcomePublished)
	w.next("1.1.0", imageTwo)
	second := w.deploy(protocol.OutcomePublished)
	w.report("shop-1", "ready", first.Published.Digest, "")
	if result, err := back(second); err != nil || result.Outcome != protocol.OutcomeRolledBack || result.Image != imageOne || result.RunningVersion != "1.0.0" ||
		result.Published.Digest != first.Published.Digest {
		t.Errorf("got %+v, %v", result, err)
	}
	refused := func(from protocol.DeployResult, words string) {
		t.Helper()
		if _, err := back(from); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want %q", err, words)
		}
	}
	refused(second, "was changed since by somebody else, to version 1.0.0")
	w.next("1.2.0", imageTwo)
	third := w.deploy(protocol.OutcomePublished)
	third.PreviousImage = imageTwo
	refused(third, "does not keep the release that ran before")

	w.templates["job.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: schema, annotations: {harmony.nationtech.io/irreversible: \"true\"}}\n"
	w.next("1.3.0", imageOne)
	if fourth := w.deploy(protocol.OutcomePublished); fourth.Irreversible != "ConfigMap schema" {
		t.Errorf("irreversible: %q", fourth.Irreversible)
	}
}
