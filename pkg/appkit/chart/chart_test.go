package chart_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/nationtech/harmony/pkg/appkit/chart"
	"github.com/nationtech/harmony/pkg/protocol"
)

func settings(text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"a": text}}
}

func TestTextOfObjectsIsNoTemplate(t *testing.T) {
	files, err := chart.Chart{Name: "a", Objects: []runtime.Object{settings("{{ .Release.Name }} }} \" {{")}}.Files()
	if err != nil {
		t.Fatal(err)
	}
	text := string(files["templates/configmap-settings.yaml"])
	if want := `a: '{{ "{{" }} .Release.Name }} }} " {{ "{{" }}'`; !strings.Contains(text, want) {
		t.Errorf("no %s in\n%s", want, text)
	}
}

func TestValuesTakeTheirDefaultFromTheObject(t *testing.T) {
	map1 := settings("x: {{ }}")
	custom := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Thing", "metadata": map[string]any{"name": "t"},
		"spec": map[string]any{"sizes": []any{map[string]any{"size": int64(1 << 60)}}},
	}}
	files, err := chart.Chart{
		Name: "a", Objects: []runtime.Object{map1, custom}, Defaults: map[string]any{"more": true},
		Values:    []chart.Value{{Of: map1, Field: "data.a", Name: "text"}, {Of: custom, Field: "spec.sizes.0.size", Name: "size"}},
		Templates: map[string]string{"_x.tpl": "{{ .Values.more }}"},
	}.Files()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(files["values.yaml"]), "more: true\nsize: 1152921504606846976\ntext: 'x: {{ }}'\n"; got != want {
		t.Errorf("values\n%s\nwant\n%s", got, want)
	}
	if text := string(files["templates/thing-t.yaml"]); !strings.Contains(text, `size: {{ index .Values "size" | toJson }}`) {
		t.Error(text)
	}
	if string(files["templates/_x.tpl"]) != "{{ .Values.more }}" {
		t.Error("a template is not as it was given")
	}
}

func TestChartRefuses(t *testing.T) {
	a, b := settings(""), settings("")
	untyped := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "x"}}}
	for name, test := range map[string]struct {
		made chart.Chart
		want string
	}{
		"same name":            {chart.Chart{Objects: []runtime.Object{a, b}}, "configmap-settings.yaml"},
		"no name":              {chart.Chart{Objects: []runtime.Object{&corev1.Pod{}}}, "has no name"},
		"nil":                  {chart.Chart{Objects: []runtime.Object{(*corev1.Pod)(nil)}}, "is nil"},
		"no kind":              {chart.Chart{Objects: []runtime.Object{untyped}}, ""},
		"no such field":        {chart.Chart{Objects: []runtime.Object{a}, Values: []chart.Value{{Of: a, Field: "data.b", Name: "b"}}}, "has no b"},
		"field of a text":      {chart.Chart{Objects: []runtime.Object{a}, Values: []chart.Value{{Of: a, Field: "data.a.x", Name: "b"}}}, "not in a map"},
		"name with a dot":      {chart.Chart{Objects: []runtime.Object{a}, Values: []chart.Value{{Of: a, Field: "data.a", Name: "b.c"}}}, "is not a name"},
		"name twice":           {chart.Chart{Objects: []runtime.Object{a}, Defaults: map[string]any{"b": 1}, Values: []chart.Value{{Of: a, Field: "data.a", Name: "b"}}}, "names two"},
		"value of no object":   {chart.Chart{Objects: []runtime.Object{a}, Values: []chart.Value{{Of: b, Field: "data.a", Name: "b"}}}, "not one of the chart's"},
		"template that climbs": {chart.Chart{Templates: map[string]string{"../x": ""}}, "not a file name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.made.Files()
			if protocol.ExitCode(err) == 0 || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// FuzzText looks that whatever stands in an object comes out of the template
// as it was, for a reader that puts {{ in the place of its escape.
func FuzzText(f *testing.F) {
	for _, seed := range []string{"", "{{", "}}", `{{ "{{" }}`, "a\nb", "harmony-value-0-ConfigMap", "{{{", "on", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "")
		files, err := chart.Chart{Name: "a", Objects: []runtime.Object{settings(text)}}.Files()
		if err != nil && strings.Contains(err.Error(), "control characters") {
			t.Skip() // YAML has no place for them
		}
		if err != nil {
			t.Fatal(err)
		}
		rendered := strings.ReplaceAll(string(files["templates/configmap-settings.yaml"]), `{{ "{{" }}`, "{{")
		var back corev1.ConfigMap
		if err := yaml.Unmarshal([]byte(rendered), &back); err != nil || back.Data["a"] != text {
			t.Errorf("%q became %q, %v, in\n%s", text, back.Data["a"], err, rendered)
		}
	})
}
