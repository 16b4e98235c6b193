package pack

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// twoComponents is a chart of two pods.
func twoComponents(files ...string) map[string]string {
	of := func(name string) string {
		return strings.NewReplacer("%NAME%", name, ".Values.image", ".Values."+name+".image").Replace(pod)
	}
	all := map[string]string{
		"Chart.yaml": base()["Chart.yaml"], "values.yaml": "web: {image: nginx}\nworker: {image: busybox}\n",
		"templates/web.yaml": of("web"), "templates/worker.yaml": of("worker"),
	}
	for i := 0; i < len(files); i += 2 {
		all[files[i]] = files[i+1]
	}
	return all
}

func inBoth() []protocol.ChartImage {
	return []protocol.ChartImage{{Value: "web.image"}, {Value: "worker.image"}}
}

// Each of the places has to give a container the image, with the values of each target.
func TestOneImageInSeveralPlaces(t *testing.T) {
	bare := "{{ .Values.%NAME%.image.repository }}@sha256:{{ .Values.%NAME%.image.sha }}"
	bareOf := func(name string) string {
		return strings.NewReplacer("{{ .Values.image }}", strings.ReplaceAll(bare, "%NAME%", name), "%NAME%", name).Replace(pod)
	}
	switched := "{{ if .Values.worker.enabled }}\n" + twoComponents()["templates/worker.yaml"] + "{{ end }}\n"
	for _, test := range []struct {
		name   string
		files  map[string]string
		places []protocol.ChartImage
		target map[string]any
		want   string
	}{
		{"both are used", twoComponents(), inBoth(), nil, ""},
		{"with a target", twoComponents(), inBoth(), map[string]any{"other": 1}, ""},
		{"templates that write sha256:", twoComponents("values.yaml", "web: {image: {repository: x, sha: x}}\nworker: {image: {repository: x, sha: x}}\n",
			"templates/web.yaml", bareOf("web"), "templates/worker.yaml", bareOf("worker")),
			[]protocol.ChartImage{{Repository: "web.image.repository", Digest: "web.image.sha"}, {Repository: "worker.image.repository", Digest: "worker.image.sha"}}, nil, ""},
		{"a required value", twoComponents("values.yaml", "", "templates/all.yaml", `{{ if and (required "set web.image" .Values.web.image) (required "set worker.image" .Values.worker.image) }}{{ end }}`), inBoth(), nil, ""},
		{"the second is not used", twoComponents("templates/worker.yaml", strings.NewReplacer("%NAME%", "worker", "{{ .Values.image }}", "busybox:1").Replace(pod)), inBoth(), nil,
			"no container takes localhost:5001/fleet/operator:1.4.0@" + digest + ", which is in .Values.worker.image: the images are busybox:1 in pod/worker (templates/worker.yaml)"},
		{"both containers have the first", twoComponents("templates/worker.yaml", strings.NewReplacer("%NAME%", "worker", ".Values.image", ".Values.web.image").Replace(pod)), inBoth(), nil,
			"which is in .Values.worker.image: all containers take it from other values"},
		{"a target replaces one", twoComponents(), inBoth(), map[string]any{"worker": map[string]any{"image": "nginx:1"}},
			`with the values of target "staging": chart "operator" does not use the image: no container takes`},
		{"a target switches one off", twoComponents("templates/worker.yaml", switched, "values.yaml", "web: {image: x}\nworker: {image: x, enabled: true}\n"), inBoth(),
			map[string]any{"worker": map[string]any{"enabled": false}}, "which is in .Values.worker.image: all containers take it from other values"},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			write(t, filepath.Join(root, "chart"), test.files)
			spec := app(root, test.places...)
			if test.target != nil {
				spec.Targets = map[string]protocol.TargetValues{"staging": {Values: test.target}}
			}
			packed, err := Pack(t.Context(), spec, image())
			if test.want != "" {
				refused(t, err, test.want)
				return
			}
			if err != nil || packed.Found || !slices.Equal(packed.Image, spec.Chart.Image) {
				t.Fatalf("%v, found %t, places %s", err, packed.Found, packed.Image)
			}
			for _, place := range packed.Image {
				path := place.Value + place.Digest // it has one of them
				if value, _ := valueAt(t, packed.Archive, path).(string); !strings.HasSuffix(value, digest[len("sha256:"):]) {
					t.Errorf("%s is %q", path, value)
				}
			}
		})
	}
}

// All places are offered together only where containers take the image from each.
func TestAllPlacesTogether(t *testing.T) {
	either := strings.NewReplacer("%NAME%", "x", ".Values.image", ".Values.worker.image | default .Values.web.image").Replace(pod)
	files := twoComponents("templates/web.yaml", either, "templates/worker.yaml", "", "values.yaml", "web: {image: }\nworker: {image: }\n")
	_, err := pack(t, files, protocol.ChartImage{})
	refused(t, err, "2 places in its values take the image")
	if strings.Contains(err.Error(), "both") {
		t.Errorf("one container takes one image: %v", err)
	}
}

// A deploy renders the chart with values that the release did not have.
func TestPlacesAreKeptByADeploy(t *testing.T) {
	files := twoComponents("values.yaml", "web: {image: \""+image().String()+"\"}\nworker: {image: \""+image().String()+"\"}\n")
	ref := protocol.ChartRef{Chart: "shop", Image: inBoth()}
	for worker, want := range map[string]string{
		"":        "",
		"nginx:1": "chart \"shop\": .Values.worker.image does not have the image",
		"localhost:5001/other/operator@" + digest: "chart \"shop\": .Values.worker.image does not have the image",
	} {
		v := variant{name: "the values", values: map[string]any{}}
		if worker != "" {
			v.values["worker"] = map[string]any{"image": worker}
		}
		rendered, err := renderVariant(app(""), tree(bytesOf(files)), v, &boundedEngine{ctx: t.Context()})
		if err != nil {
			t.Fatal(err)
		}
		if err := rendered.Uses(image(), ref); want != "" {
			refused(t, err, want)
		} else if err != nil {
			t.Error(err)
		}
	}
}

func bytesOf(files map[string]string) map[string][]byte {
	all := map[string][]byte{}
	for name, text := range files {
		all[name] = []byte(text)
	}
	return all
}
