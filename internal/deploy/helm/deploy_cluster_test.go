package helm

import (
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestDeploy(t *testing.T) {
	w := newWorld(t)
	first := w.deploy(protocol.OutcomeInstalled, 1)
	if first.Image != w.image.Digest {
		t.Errorf("image %s, want %s", first.Image, w.image.Digest)
	}
	w.deploy(protocol.OutcomeUnchanged, 1)

	old := w.image
	w.image = clustertest.Push(t, "harmony-test/app", "1.1.0")
	second := w.deploy(protocol.OutcomeUpgraded, 2)
	if second.PreviousImage != old.Digest || second.PreviousChart != first.Chart {
		t.Errorf("previous: image %s chart %s, want %s and %s", second.PreviousImage, second.PreviousChart, old.Digest, first.Chart)
	}
	w.deploy(protocol.OutcomeUnchanged, 2)
	if n := len(w.history()); n != 2 {
		t.Errorf("history has %d revisions, want 2", n)
	}
}

func TestFieldThatTheServerDoesNotKnowIsTold(t *testing.T) {
	w := newWorld(t)
	w.replaceTemplate("  replicas:", "  replica: 3\n  replicas:")
	w.deploy(protocol.OutcomeInstalled, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.Phase == "warning" && strings.Contains(e.Message, "spec.replica") {
			return
		}
	}
	t.Error("no event warns of the unknown field")
}

// What an autoscaler does to the replicas is not undone: it is no drift, and stays
// in an upgrade and a rollback.
func TestAutoscaledReplicasStay(t *testing.T) {
	w := newWorld(t)
	w.deploy(protocol.OutcomeInstalled, 1)
	scaler := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: appName},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: appName},
			MinReplicas:    new(int32(2)), MaxReplicas: 2,
		},
	}
	if _, err := w.cluster.Client.AutoscalingV2().HorizontalPodAutoscalers(w.namespace).Create(t.Context(), scaler, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.patchDeployment(`{"spec":{"replicas":2}}`)
	two := func(after string) {
		t.Helper()
		if n := *w.getDeployment().Spec.Replicas; n != 2 {
			t.Errorf("%d replicas after %s, want 2", n, after)
		}
	}
	w.deploy(protocol.OutcomeUnchanged, 1)
	two("a deploy of the same")
	w.image = clustertest.Push(t, "harmony-test/app", "1.1.0")
	w.deploy(protocol.OutcomeUpgraded, 2)
	two("an upgrade")
	if _, err := w.operator().Rollback(t.Context(), w.spec(), "test", ""); err != nil {
		t.Fatal(err)
	}
	two("a rollback")
}
