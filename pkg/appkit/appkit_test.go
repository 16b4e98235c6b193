package appkit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/nationtech/harmony/pkg/appkit"
	"github.com/nationtech/harmony/pkg/protocol"
)

// run answers arguments and returns the documents on stdout.
func run(t *testing.T, p appkit.Plugin, stdin string, args ...string) (int, []protocol.Document) {
	t.Helper()
	var out bytes.Buffer
	code := p.Main(t.Context(), appkit.Streams{In: strings.NewReader(stdin), Out: &out, Err: t.Output()}, args)
	var documents []protocol.Document
	for line := range bytes.Lines(out.Bytes()) {
		d, err := protocol.Parse(bytes.TrimSpace(line))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		documents = append(documents, d)
	}
	return code, documents
}

func stream(t *testing.T, specs ...protocol.Spec) string {
	t.Helper()
	var out bytes.Buffer
	writer := protocol.NewWriter(&out)
	for _, s := range specs {
		if err := writer.WriteSpec(s); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

func TestDescribeAndApps(t *testing.T) {
	code, documents := run(t, shop(), "", "describe")
	if code != 0 || len(documents) != 1 {
		t.Fatalf("status %d, %v", code, documents)
	}
	info, err := protocol.Decode[protocol.PluginInfo](documents[0])
	if err != nil || len(info.Apps) != 1 || info.Apps[0] != "shop" || info.Protocol.Max < 1 {
		t.Errorf("describe answers %+v, %v", info, err)
	}
	code, documents = run(t, shop(), "", "apps")
	if code != 0 || len(documents) != 1 {
		t.Fatalf("status %d, %v", code, documents)
	}
	app, err := protocol.Decode[protocol.AppSpec](documents[0])
	if err != nil || app.Validate() != nil || app.Chart.Builder == nil || !filepath.IsAbs(app.ProjectRoot) {
		t.Errorf("apps answers %+v, %v", app, err)
	}
}

func TestChart(t *testing.T) {
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "shop", Version: "1.4.0"}}
	image := protocol.ImageRef{Metadata: app.Metadata, Registry: "r.example.com", Repository: "shop", Tag: "1.4.0", Digest: "sha256:" + strings.Repeat("a", 64)}
	dir := t.TempDir()
	code, documents := run(t, shop(), stream(t, app, image), "chart", "--output", dir)
	if code != 0 || len(documents) != 1 {
		t.Fatalf("status %d, %v", code, documents)
	}
	ref, err := protocol.Decode[protocol.ChartRef](documents[0])
	if err != nil || ref.Path != filepath.Join(dir, "shop") || ref.ChartVersion != "1.4.0" || ref.Name != "shop" {
		t.Errorf("chart answers %+v, %v", ref, err)
	}
	text, err := os.ReadFile(filepath.Join(ref.Path, "templates/deployment-shop.yaml"))
	if err != nil || !strings.Contains(string(text), "image: "+image.String()) {
		t.Errorf("%v:\n%s", err, text)
	}
}

func TestRefuses(t *testing.T) {
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "shop"}}
	other := protocol.AppSpec{Metadata: protocol.Metadata{Name: "other"}}
	imageOf := func(a protocol.AppSpec) protocol.ImageRef { return protocol.ImageRef{Metadata: a.Metadata} }
	without := shop()
	without.Apps[0].Chart = nil
	for _, test := range []struct {
		name   string
		plugin appkit.Plugin
		stdin  string
		args   []string
		code   int
		want   string
	}{
		{"unknown command", shop(), "", []string{"deplay"}, protocol.ExitInvalid, `no command "deplay"`},
		{"unknown app", shop(), "", []string{"apps", "x"}, protocol.ExitInvalid, "has shop"},
		{"no folder", shop(), "", []string{"chart"}, protocol.ExitInvalid, "--output DIR"},
		{"unknown flag", shop(), "", []string{"chart", "--out=x"}, protocol.ExitInvalid, "out"},
		{"no documents", shop(), "", []string{"chart", "--output", "x"}, protocol.ExitInvalid, "no AppSpec"},
		{"image of another app", shop(), stream(t, app, imageOf(other)), []string{"chart", "--output", "x"}, protocol.ExitInvalid, "no ImageRef"},
		{"not JSON", shop(), "{\n", []string{"chart", "--output", "x"}, protocol.ExitInvalid, "stdin"},
		{"another app", shop(), stream(t, other, imageOf(other)), []string{"chart", "--output", "x"}, protocol.ExitInvalid, `no app "other"`},
		{"no chart", without, stream(t, app, imageOf(app)), []string{"chart", "--output", "x"}, protocol.ExitUnsupported, "makes no chart"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, documents := run(t, test.plugin, test.stdin, test.args...)
			if code != test.code || len(documents) != 1 {
				t.Fatalf("status %d, want %d; %v", code, test.code, documents)
			}
			failure, err := protocol.Decode[protocol.Failure](documents[0])
			if err != nil || failure.Code != test.code || !strings.Contains(failure.Message, test.want) {
				t.Errorf("answers %+v, %v; want %q", failure, err, test.want)
			}
		})
	}
}

func settings(text string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"a": text}}
}

func TestTextOfObjectsIsNoTemplate(t *testing.T) {
	files, err := appkit.Chart{Name: "a", Objects: []runtime.Object{settings("{{ .Release.Name }} }} \" {{")}}.Files()
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
	files, err := appkit.Chart{
		Name: "a", Objects: []runtime.Object{map1, custom}, Defaults: map[string]any{"more": true},
		Values:    []appkit.Value{{Of: map1, Field: "data.a", Name: "text"}, {Of: custom, Field: "spec.sizes.0.size", Name: "size"}},
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
		chart appkit.Chart
		want  string
	}{
		"same name":            {appkit.Chart{Objects: []runtime.Object{a, b}}, "configmap-settings.yaml"},
		"no name":              {appkit.Chart{Objects: []runtime.Object{&corev1.Pod{}}}, "has no name"},
		"nil":                  {appkit.Chart{Objects: []runtime.Object{(*corev1.Pod)(nil)}}, "is nil"},
		"no kind":              {appkit.Chart{Objects: []runtime.Object{untyped}}, ""},
		"no such field":        {appkit.Chart{Objects: []runtime.Object{a}, Values: []appkit.Value{{Of: a, Field: "data.b", Name: "b"}}}, "has no b"},
		"field of a text":      {appkit.Chart{Objects: []runtime.Object{a}, Values: []appkit.Value{{Of: a, Field: "data.a.x", Name: "b"}}}, "not in a map"},
		"name with a dot":      {appkit.Chart{Objects: []runtime.Object{a}, Values: []appkit.Value{{Of: a, Field: "data.a", Name: "b.c"}}}, "is not a name"},
		"name twice":           {appkit.Chart{Objects: []runtime.Object{a}, Defaults: map[string]any{"b": 1}, Values: []appkit.Value{{Of: a, Field: "data.a", Name: "b"}}}, "names two"},
		"value of no object":   {appkit.Chart{Objects: []runtime.Object{a}, Values: []appkit.Value{{Of: b, Field: "data.a", Name: "b"}}}, "not one of the chart's"},
		"template that climbs": {appkit.Chart{Templates: map[string]string{"../x": ""}}, "no file name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.chart.Files()
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
		files, err := appkit.Chart{Name: "a", Objects: []runtime.Object{settings(text)}}.Files()
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
