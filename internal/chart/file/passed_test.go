package file

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/nationtech/harmony/pkg/protocol"
)

// An operator is told of images in many ways.
func TestPassedOn(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("a", 64)
	for text, want := range map[string]string{
		`args: ["--reloader=quay.io/org/reloader:v1"]`:                     "quay.io/org/reloader:v1 in argument --reloader",
		`args: ["--proxy-image=org/proxy:v1"]`:                             "org/proxy:v1 in argument --proxy-image",
		`args: ["--proxy-image", "proxy:v1", "--listen", "x.org:80"]`:      "proxy:v1 in argument --proxy-image",
		`args: [run, "ghcr.io/org/task:2"]`:                                "ghcr.io/org/task:2 in args",
		`command: [sh, -c, "exec op --image=localhost:5000/a:1"]`:          "localhost:5000/a:1 in argument -c",
		`env: [{name: RELATED_IMAGE_DB, value: "docker.io/library/db:3"}]`: "docker.io/library/db:3 in env RELATED_IMAGE_DB",
		`env: [{name: IMAGES, value: "db=db:3, web=org/web:4"}]`:           "db:3 in env IMAGES\norg/web:4 in env IMAGES",
		`env: [{name: CONFIG, value: '{"agent":"quay.io/org/agent:1"}'}]`:  "quay.io/org/agent:1 in env CONFIG",
		`env: [{name: IMAGE, value: "quay.io/org/agent:1` + digest + `"}]`: "",
		`args: ["--listen=0.0.0.0:8080", "--url=http://x.org/a:1"]`:        "",
		`args: ["--image-pull-policy=IfNotPresent", "redis:6379"]`:         "",
		`env: [{name: IMAGE, valueFrom: {fieldRef: {fieldPath: x}}}, 7]`:   "",
		`args: {x: 1}`: "",
	} {
		for _, kind := range []string{"containers", "initContainers"} {
			object := &unstructured.Unstructured{}
			document := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: op}\nspec: {template: {spec: {" + kind + ": [{name: manager, image: x, " + text + "}]}}}\n"
			if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
				t.Fatal(err)
			}
			r := Rendered{Hooks: []*unstructured.Unstructured{object}, sources: map[*unstructured.Unstructured]string{object: "templates/op.yaml"}}
			var lines []string
			for _, passed := range r.PassedOn() {
				line, found := strings.CutSuffix(passed.String(), " of container manager in deployment/op (templates/op.yaml)")
				if !found {
					t.Errorf("%s: %s", text, passed)
				}
				lines = append(lines, line)
			}
			if got := strings.Join(lines, "\n"); got != want {
				t.Errorf("%s: got %q, want %q", text, got, want)
			}
		}
	}
}

// Whatever a container is told, what is found are references without a digest.
func FuzzImagesIn(f *testing.F) {
	for _, text := range []string{"--a=quay.io/b:1", "a,b;c=d/e:f", `{"x":"y.z/w:1"}`, "=", "image:1", "a@sha256:"} {
		f.Add("IMAGE", text)
	}
	f.Fuzz(func(t *testing.T, key, text string) {
		for _, image := range imagesIn(key, text) {
			ref, err := protocol.ParseImageRef(image)
			if err != nil || ref.Digest != "" || ref.Tag == "" || !strings.Contains(text, image) {
				t.Errorf("%q in %q: %v", image, text, err)
			}
		}
	})
}
