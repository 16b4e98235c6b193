package difference

import (
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// What stands in the place of a Secret's value: nothing of it can be told, but
// whether it changes.
const (
	masked       = "***"
	maskedBefore = "*** (before)"
	maskedAfter  = "*** (after)"
)

// lastApplied is where kubectl apply keeps a copy of the whole object.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// mask takes the values out of a Secret.
func mask(before, after *unstructured.Unstructured) (map[string]any, map[string]any) {
	a, b := essence(before), essence(after)
	if !isSecret(before) && !isSecret(after) {
		return a, b
	}
	for _, field := range []string{"data", "stringData"} {
		maskField(a, b, field)
	}
	for _, object := range []map[string]any{a, b} {
		if _, found, _ := unstructured.NestedString(object, "metadata", "annotations", lastApplied); found {
			_ = unstructured.SetNestedField(object, masked, "metadata", "annotations", lastApplied)
		}
	}
	return a, b
}

func isSecret(object *unstructured.Unstructured) bool {
	return object != nil && object.GetKind() == "Secret" && object.GroupVersionKind().Group == ""
}

func maskField(before, after map[string]any, field string) {
	changed := map[string]bool{}
	a, _ := before[field].(map[string]any)
	b, _ := after[field].(map[string]any)
	for key, value := range a {
		other, both := b[key]
		changed[key] = both && !reflect.DeepEqual(value, other)
	}
	maskValues(before, field, changed, maskedBefore)
	maskValues(after, field, changed, maskedAfter)
}

// maskValues masks every value of the field; what is no map of values may hold
// one all the same.
func maskValues(object map[string]any, field string, changed map[string]bool, mark string) {
	raw, found := object[field]
	if !found || raw == nil {
		return
	}
	values, ok := raw.(map[string]any)
	if !ok {
		object[field] = masked
		return
	}
	for key := range values {
		values[key] = masked
		if changed[key] {
			values[key] = mark
		}
	}
}
