package argocd

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestInstallUpgradeUnchanged(t *testing.T) {
	w := newWorld(t)
	first := w.Deploy(protocol.OutcomeInstalled)
	version := w.application().GetResourceVersion()
	again := w.Deploy(protocol.OutcomeUnchanged)
	if now := w.application().GetResourceVersion(); now != version {
		t.Errorf("an unchanged deploy wrote: the Application went from resource version %s to %s", version, now)
	}
	if again.Image != first.Image || again.Chart != first.Chart {
		t.Errorf("unchanged tells %s and %s, installed told %s and %s", again.Image, again.Chart, first.Image, first.Chart)
	}
	w.NextImage("1.1.0")
	w.Values["replicas"] = float64(2)
	next := w.Deploy(protocol.OutcomeUpgraded)
	if next.PreviousImage != first.Image || next.PreviousChart != first.Chart {
		t.Errorf("previous image %s and chart %s, want %s and %s", next.PreviousImage, next.PreviousChart, first.Image, first.Chart)
	}
	w.Deploy(protocol.OutcomeUnchanged)
	if n := w.syncs(); n != 2 {
		t.Errorf("%d syncs, want 2", n)
	}
	w.noLease()
}

func TestDryRunChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.DryRun = true
	w.Deploy(protocol.OutcomeInstalled)
	if _, err := w.applications.Get(t.Context(), w.Namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Application: %v, want none", err)
	}
	w.DryRun = false
	w.Deploy(protocol.OutcomeInstalled)
	w.DryRun = true
	w.Deploy(protocol.OutcomeUnchanged)
	version := w.application().GetResourceVersion()
	w.NextImage("1.1.0")
	w.Deploy(protocol.OutcomeUpgraded)
	if now := w.application().GetResourceVersion(); now != version {
		t.Error("a dry run wrote to the Application")
	}
}
