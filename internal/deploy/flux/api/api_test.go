package api

import (
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/drift"
)

func release(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	made, err := Release("fleet", "app", map[string]any{"name": "x"}, 0, true, nil, map[string]any{"driftDetection": map[string]any{"mode": "enabled", "ignore": ignored([]string{"/data"})}})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func spec(t *testing.T, o *unstructured.Unstructured) string {
	t.Helper()
	text, err := json.Marshal(o.Object["spec"])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A HelmRelease leaves the replicas that an autoscaler set alone, in upgrades and
// when Flux looks for drift; that they move meanwhile is no change of it.
func TestReplicasOfAutoscalers(t *testing.T) {
	scaled := []drift.Scaled{{APIVersion: "apps/v1", Kind: "Deployment", Name: "web", Replicas: new(int64(3))}, {APIVersion: "apps/v1", Kind: "StatefulSet", Name: "new"}}
	written := release(t)
	LeaveReplicas(written, scaled, []string{"/data"})
	text := spec(t, written)
	for _, want := range []string{
		`"ignore":[{"paths":["/data"]},{"paths":["/spec/replicas"],"target":{"kind":"Deployment","name":"web"}}`,
		`kind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n`, `metadata: {name: new}\nspec: {replicas: null}\n`, `"target":{"kind":"StatefulSet","name":"new"}`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the spec lacks %s:\n%s", want, text)
		}
	}
	next := release(t)
	CarryReplicas(written, next)
	if got := spec(t, next); got != text {
		t.Errorf("the next release is another one:\n%s\n%s", got, text)
	}
	LeaveReplicas(next, nil, []string{"/data"})
	if got := spec(t, next); got != spec(t, release(t)) {
		t.Errorf("without an autoscaler: %s", got)
	}
	// What somebody else patches is not ours.
	other := release(t)
	if err := unstructured.SetNestedSlice(other.Object, []any{map[string]any{"kustomize": map[string]any{}}}, "spec", "postRenderers"); err != nil {
		t.Fatal(err)
	}
	if CarryReplicas(other, next); spec(t, next) != spec(t, release(t)) {
		t.Errorf("taken over: %s", spec(t, next))
	}
}
