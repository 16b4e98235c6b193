package drift

import (
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func read(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: fleet}
spec:
  replicas: 2
  template: {spec: {containers: [{name: app, image: one}]}}
`

func TestPatchFor(t *testing.T) {
	wanted := read(t, deployment)
	for name, c := range map[string]struct {
		live string
		want string
	}{
		"the same":          {deployment, ""},
		"a field of others": {strings.Replace(deployment, "replicas: 2", "replicas: 2\n  paused: true", 1), ""},
		"another image":     {strings.Replace(deployment, "image: one", "image: two", 1), `"image":"one"`},
		"other replicas":    {strings.Replace(deployment, "replicas: 2", "replicas: 5", 1), `"replicas":2`},
	} {
		_, patch, err := Patch(wanted, wanted, read(t, c.live))
		if err != nil || c.want == "" && patch != nil || !strings.Contains(string(patch), c.want) {
			t.Errorf("%s: patch %s, %v, want %q", name, patch, err, c.want)
		}
	}
	custom := read(t, "apiVersion: example.com/v1\nkind: Thing\nspec: {a: 1}\n")
	if _, patch, err := Patch(custom, custom, read(t, "apiVersion: example.com/v1\nkind: Thing\nspec: {a: 2}\n")); patch != nil || err != nil {
		t.Errorf("a custom resource: %s, %v", patch, err)
	}
}

func TestIgnore(t *testing.T) {
	f := Finder{Ignore: []string{"/spec/replicas", "/metadata/annotations/example.com~1x", "/spec/list/1/a", "/spec/absent/field", "/spec/list/9"}}
	got := f.essence(read(t, `metadata: {resourceVersion: "1", annotations: {example.com/x: a, z: b}}
spec: {replicas: 1, list: [{a: 0}, {a: 1, b: 2}], other: text}
status: {x: y}
`))
	want := map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{"z": "b"}},
		"spec":     map[string]any{"list": []any{map[string]any{"a": int64(0)}, map[string]any{"b": int64(2)}}, "other": "text"},
	}
	if !reflect.DeepEqual(normal(got), normal(want)) {
		t.Errorf("%v, want %v", got, want)
	}
}

// normal makes whole numbers one type.
func normal(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			v[key] = normal(member)
		}
	case []any:
		for i, member := range v {
			v[i] = normal(member)
		}
	case int64:
		return float64(v)
	}
	return value
}
