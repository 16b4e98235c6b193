package rollout

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestPolicyOfAKind(t *testing.T) {
	policies, err := ReadPolicies(map[string]any{"Service": "ready", "Robot.example.com": "condition=Armed", "Robot": "ignore"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		group, kind string
		want        Policy
	}{
		{"", "PersistentVolumeClaim", PolicyReady},
		{"", "ConfigMap", PolicyIgnore},
		{"", "Secret", PolicyIgnore},
		{"networking.k8s.io", "Ingress", PolicyIgnore},
		{"rbac.authorization.k8s.io", "Role", PolicyIgnore},
		{"", "Service", PolicyReady},
		{"cert-manager.io", "Certificate", PolicyReady},
		{"example.com", "Robot", "condition=Armed"},
		{"other.com", "Robot", PolicyIgnore},
	} {
		kind := schema.GroupVersionKind{Group: c.group, Version: "v1", Kind: c.kind}
		if got := policies.of(kind); got != c.want {
			t.Errorf("%s: %s, want %s", kind.GroupKind(), got, c.want)
		}
	}
	for _, bad := range []any{true, map[string]any{"X": "later"}, map[string]any{"X": "condition="}, map[string]any{"X": 1}} {
		if _, err := ReadPolicies(bad); protocol.ExitCode(err) != protocol.ExitInvalid {
			t.Errorf("%v: error %v, want invalid input", bad, err)
		}
	}
}

func TestStatusOfAnObjectWithoutPods(t *testing.T) {
	object := func(observed int64, kind, value string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "example.com/v1", "kind": "Robot", "metadata": map[string]any{"name": "r2", "generation": int64(2)},
			"status": map[string]any{"observedGeneration": observed, "conditions": []any{map[string]any{"type": kind, "status": value, "message": "why"}}},
		}}
	}
	for _, c := range []struct {
		name   string
		policy Policy
		object *unstructured.Unstructured
		ready  bool
		fails  bool
	}{
		{"ready", PolicyReady, object(2, "Ready", "True"), true, false},
		{"not ready", PolicyReady, object(2, "Ready", "False"), false, false},
		{"ready, but of an old generation", PolicyReady, object(1, "Ready", "True"), false, false},
		{"stalled", PolicyReady, object(2, "Stalled", "True"), false, true},
		{"only there", PolicyExists, object(1, "Ready", "False"), true, false},
		{"condition", "condition=Armed", object(2, "Armed", "True"), true, false},
		{"condition of an old generation", "condition=Armed", object(1, "Armed", "True"), false, false},
		{"another condition", "condition=Armed", object(2, "Ready", "True"), false, false},
		{"missing", PolicyExists, nil, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Snapshot{Workload: Workload{Kind: "Robot", Name: "r2", Policy: c.policy, Resource: nothing{}}, Object: c.object}
			got, err := StatusOf(s)
			if err != nil || got.Ready != c.ready || (len(got.Suspects) > 0) != c.fails {
				t.Errorf("status %+v, %v, want ready %t, failing %t", got, err, c.ready, c.fails)
			}
		})
	}
}

// nothing is where an object could be read.
type nothing struct{ dynamic.ResourceInterface }
