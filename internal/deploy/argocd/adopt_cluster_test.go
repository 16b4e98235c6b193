package argocd

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/pkg/protocol"
)

// made is the app as somebody delivers it by Argo CD without harmony: a chart by its tag.
func made(t *testing.T) *argoWorld {
	t.Helper()
	w := newWorld(t)
	_, err := w.applications.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": w.Namespace, "namespace": argoNamespace},
		"spec": map[string]any{
			"project": "default", "destination": map[string]any{"server": strings.TrimSuffix(w.Cluster.Rest.Host, "/"), "namespace": w.Namespace},
			"source": map[string]any{"repoURL": w.Chart().URL, "path": ".", "targetRevision": "1.0.0", "helm": map[string]any{
				"releaseName": "app", "valuesObject": map[string]any{"replicas": int64(1), "env": []any{}},
			}},
			"syncPolicy": map[string]any{"automated": map[string]any{}, "syncOptions": []any{"CreateNamespace=true"}},
		},
	}}, metav1.CreateOptions{FieldManager: "argocd-server"})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		health, _, _ := unstructured.NestedString(w.application().Object, "status", "health", "status")
		if health == "Healthy" && len(w.Pods()) == 1 {
			return w
		}
	}
	t.Fatalf("Argo CD has not synced the Application: %v", w.application().Object["status"])
	return nil
}

func TestAdoptAnApplication(t *testing.T) {
	w := made(t)
	w.CheckAdopted("argocd-server", protocol.ExitUnsupported)
	if automated, _, _ := unstructured.NestedMap(w.application().Object, "spec", "syncPolicy", "automated"); automated == nil {
		t.Error("its sync policy is gone")
	}
	w.CheckAdoptedAgain()
}

func TestAdoptedByTwoAtOnce(t *testing.T) {
	w := made(t)
	w.CheckDiffOfOthers()
	w.CheckAdoptedAtOnce("argocd-server")
	w.noLease()
}

func TestAdoptKilled(t *testing.T) {
	w := made(t)
	w.CheckAdoptKilled(400*time.Millisecond, 800*time.Millisecond, 1500*time.Millisecond)
	w.noLease()
}
