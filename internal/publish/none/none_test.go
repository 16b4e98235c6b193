package none

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"

	"github.com/nationtech/harmony/internal/chart/pack"
	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestPushChart(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{"Chart.yaml": "apiVersion: v2\nname: operator\nversion: 0.0.0\n", "values.yaml": "image: x\n", "templates/pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: x, image: \"{{ .Values.image }}\"}]}\n"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	app := protocol.AppSpec{
		Metadata: protocol.Metadata{Name: "fleet-operator", Version: "1.4.0"}, ProjectRoot: root,
		Chart: protocol.ChartSource{Path: ".", Image: protocol.ImagePlaces{{Value: "image"}}},
	}
	image := protocol.ImageRef{Registry: "localhost:5001", Repository: "fleet/operator", Tag: "1.4.0", Digest: "sha256:" + strings.Repeat("ab", 32)}
	env := capability.Environment{Cache: filepath.Join(t.TempDir(), "cache")}
	r, err := NewHelmRegistry(nil, pack.Pack)(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	first, err := r.PushChart(t.Context(), app, image)
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := loader.LoadFile(first.Path)
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Values["image"] != image.String() || first.Unchanged || first.URL != "" || first.Chart != "operator" || first.ChartVersion != "1.4.0" {
		t.Errorf("got %+v with values %v", first, loaded.Values)
	}
	if again, err := r.PushChart(t.Context(), app, image); err != nil || !again.Unchanged || again.Digest != first.Digest || again.Path != first.Path {
		t.Errorf("got %+v, %v", again, err)
	}
	// What is damaged in the cache is made anew.
	if err := os.WriteFile(first.Path, []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	if again, err := r.PushChart(t.Context(), app, image); err != nil || again.Unchanged {
		t.Errorf("got %+v, %v", again, err)
	}
	if _, err := loader.LoadFile(first.Path); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(env.Cache, "charts", ".*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	image.Planned = true
	if _, err := r.PushChart(t.Context(), app, image); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("planned image: got %v", err)
	}
	env.DryRun = true
	if r, err = NewHelmRegistry(nil, pack.Pack)(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	image.Digest = ""
	if planned, err := r.PushChart(t.Context(), app, image); err != nil || !planned.Planned || planned.Digest != "" || planned.Path != "" {
		t.Errorf("got %+v, %v", planned, err)
	}
}

// --explain says where the image goes, for an app that does not.
func TestExplain(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{
		"Chart.yaml":         "apiVersion: v2\nname: operator\nversion: 0.0.0\n",
		"values.yaml":        "image: {repository: x, tag: y}\n",
		"templates/pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: x, image: \"{{ .Values.image.repository }}:{{ .Values.image.tag }}\"}]}\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	app := protocol.AppSpec{Metadata: protocol.Metadata{Name: "operator", Version: "1.4.0"}, ProjectRoot: root, Chart: protocol.ChartSource{Path: "."}}
	image := protocol.ImageRef{Registry: "localhost:5001", Repository: "operator", Tag: "1.4.0", Digest: "sha256:" + strings.Repeat("ab", 32)}
	places := protocol.ImagePlaces{{Repository: "image.repository", Tag: "image.tag"}}
	const want = "the image goes to .Values.image.repository and .Values.image.tag, as rendering the chart shows; chart.image: {repository: image.repository, tag: image.tag}"
	for _, test := range []struct {
		explain bool
		named   protocol.ImagePlaces
		said    string
	}{
		{true, nil, want},
		{false, nil, ""},
		{true, places, ""},
	} {
		said := ""
		env := capability.Environment{Cache: t.TempDir(), Progress: func(e protocol.Event) { said += e.Message }}
		r, err := NewHelmRegistry(&publish.Flags{Explain: test.explain}, pack.Pack)(t.Context(), env)
		if err != nil {
			t.Fatal(err)
		}
		app.Chart.Image = test.named
		if ref, err := r.PushChart(t.Context(), app, image); err != nil || !slices.Equal(ref.Image, places) || said != test.said {
			t.Errorf("places %s, error %v, said %q, want %q", ref.Image, err, said, test.said)
		}
	}
}
