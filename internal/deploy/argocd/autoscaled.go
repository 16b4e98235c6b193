package argocd

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// respectIgnored has a sync leave alone what is ignored in a comparison.
const respectIgnored = "RespectIgnoreDifferences=true"

// autoscaled has Argo CD leave alone the fields that an autoscaler has set, which
// are the replicas of workloads: the HorizontalPodAutoscalers' controller, or
// KEDA where it scales to zero.
func autoscaled() []any {
	var rules []any
	for _, kind := range []string{"Deployment", "StatefulSet", "ReplicaSet"} {
		rules = append(rules, map[string]any{
			"group": "apps", "kind": kind, "managedFieldsManagers": []any{"kube-controller-manager", "keda", "keda-operator"},
		})
	}
	return rules
}

// ignoring are the rules that are there with those that are missing.
func ignoring(there []any) []any {
	all := slices.Clone(there)
	for _, rule := range autoscaled() {
		if !slices.ContainsFunc(all, func(r any) bool { return equality.Semantic.DeepEqual(r, rule) }) {
			all = append(all, rule)
		}
	}
	return all
}

// ignoresAutoscaled reports that an Application has all of the rules.
func ignoresAutoscaled(object *unstructured.Unstructured) bool {
	there, _, _ := unstructured.NestedSlice(object.Object, "spec", "ignoreDifferences")
	return len(ignoring(there)) == len(there)
}
