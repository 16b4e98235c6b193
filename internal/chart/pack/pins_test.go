package pack

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

const otherDigest = "sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"

// several is a chart of others with images in several places.
func several() tree {
	return tree{
		"Chart.yaml": []byte("apiVersion: v2\nname: redis\nversion: 20.1.0\nappVersion: \"7.4.1\"\n"),
		"values.yaml": []byte(`image: {repository: docker.io/library/redis, tag: ""}
metrics: {enabled: true, image: {registry: quay.io, repository: org/exporter, tag: "1.0", digest: ""}}
job: {image: "ghcr.io/org/job:2"}
`),
		"templates/pods.yaml": []byte(`apiVersion: v1
kind: Pod
metadata: {name: x, labels: {app: x, version: {{ .Values.metrics.image.tag | quote }}}}
spec:
  initContainers: [{name: init, image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"}]
  containers:
    - {name: x, image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"}
{{- with .Values.metrics.image }}
{{- if $.Values.metrics.enabled }}
    - {name: metrics, image: "{{ .registry }}/{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end }}"}
{{- end }}
{{- end }}
---
apiVersion: batch/v1
kind: Job
metadata: {name: hook, annotations: {helm.sh/hook: pre-install}}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: x, image: {{ .Values.job.image | quote }}}]}}}
`),
	}
}

// lockedImages are the digests of its images.
func lockedImages() map[string]string {
	return map[string]string{"docker.io/library/redis:7.4.1": digest, "quay.io/org/exporter:1.0": otherDigest, "ghcr.io/org/job:2": digest}
}

// pinnedImages packs the chart with its images pinned, and lists what it renders then.
func pinnedImages(t *testing.T, files tree, locked map[string]string, targets map[string]protocol.TargetValues) ([]string, error) {
	t.Helper()
	data, err := archive("redis", files)
	if err != nil {
		t.Fatal(err)
	}
	app := appOf(t, data)
	app.Chart.PinImages, app.Chart.Locked.Images, app.Targets = true, locked, targets
	packed, err := Pack(t.Context(), app, protocol.ImageRef{})
	if err != nil {
		return nil, err
	}
	again, err := Pack(t.Context(), app, protocol.ImageRef{})
	if err != nil || again.Digest() != packed.Digest() || !packed.Pinned || packed.Version != "20.1.0" || packed.Tag != "20.1.0_"+packed.Digest()[7:19] {
		t.Errorf("packed %s as %s, again as %s, %v", packed.Version, packed.Tag, again.Tag, err)
	}
	made, err := unpack(packed.Archive, newBudget())
	if err != nil {
		t.Fatal(err)
	}
	if string(made["Chart.yaml"]) != string(files["Chart.yaml"]) {
		t.Errorf("Chart.yaml was changed:\n%s", made["Chart.yaml"])
	}
	v, err := variants(app)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, one := range v {
		rendered, err := renderVariant(app, made, one, &boundedEngine{ctx: context.Background()})
		if err != nil {
			t.Fatal(err)
		}
		for _, use := range rendered.Images() {
			all[use.Image] = true
		}
	}
	return slices.Sorted(maps.Keys(all)), nil
}

func TestPinImages(t *testing.T) {
	images, err := pinnedImages(t, several(), lockedImages(), map[string]protocol.TargetValues{"staging": {Values: map[string]any{"metrics": map[string]any{"enabled": false}}}})
	want := []string{"docker.io/library/redis:7.4.1@" + digest, "ghcr.io/org/job:2@" + digest, "quay.io/org/exporter@" + otherDigest}
	if err != nil || !slices.Equal(images, want) {
		t.Errorf("got %q, %v", images, err)
	}
}

// What is passed on is pinned where it comes from a value that is, and told elsewhere.
func TestImagesPassedOnAreTold(t *testing.T) {
	files := several()
	files["templates/operator.yaml"] = []byte(`apiVersion: v1
kind: Pod
metadata: {name: operator}
spec:
  containers:
    - name: manager
      image: {{ .Values.job.image | quote }}
      args: ["--job-image={{ .Values.job.image }}", --agent=quay.io/org/agent:1]
`)
	data, err := archive("redis", files)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"not pinned: quay.io/org/agent:1 in argument --agent of container manager in pod/operator (templates/operator.yaml)"}
	if told, err := CheckPins(t.Context(), appOf(t, data), data, lockedImages()); err != nil || !slices.Equal(told, want) {
		t.Errorf("told %q, %v", told, err)
	}
}

// The values of a target may name another image with its digest.
func TestPinnedByATarget(t *testing.T) {
	values := map[string]any{"image": map[string]any{"tag": "8@" + otherDigest}}
	images, err := pinnedImages(t, several(), lockedImages(), map[string]protocol.TargetValues{"staging": {Values: values}})
	if err != nil || !slices.Contains(images, "docker.io/library/redis:8@"+otherDigest) || len(images) != 4 {
		t.Errorf("got %q, %v", images, err)
	}
}

func TestPinImagesRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(files tree, locked map[string]string, values map[string]any)
		want   string
	}{
		"an image that is not locked": {func(_ tree, locked map[string]string, _ map[string]any) { delete(locked, "ghcr.io/org/job:2") },
			"harmony.lock does not have the image ghcr.io/org/job:2 in job/hook with the default values (templates/pods.yaml)"},
		"a fixed image": {func(files tree, locked map[string]string, _ map[string]any) {
			files["templates/fixed.yaml"] = []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: z}\nspec: {containers: [{name: z, image: \"fixed:1\"}]}\n")
			locked["fixed:1"] = digest
		}, "no value of the chart takes the digest of\nfixed:1 in pod/z with the default values (templates/fixed.yaml)"},
		"a label of the tag": {func(files tree, _ map[string]string, _ map[string]any) {
			files["values.yaml"] = []byte(strings.Replace(string(files["values.yaml"]), `, digest: ""`, "", 1))
		}, "no value of the chart takes the digest of\nquay.io/org/exporter:1.0 in pod/x"},
		"a tag of a target": {func(_ tree, locked map[string]string, values map[string]any) {
			values["image"], locked["docker.io/library/redis:8"] = map[string]any{"tag": "8"}, otherDigest
		}, `docker.io/library/redis:8 in pod/x with the values of target "staging"`},
	} {
		t.Run(name, func(t *testing.T) {
			files, locked, values := several(), lockedImages(), map[string]any{}
			c.change(files, locked, values)
			_, err := pinnedImages(t, files, locked, map[string]protocol.TargetValues{"staging": {Values: values}})
			if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
}

func TestLooseImages(t *testing.T) {
	data, err := archive("redis", several())
	if err != nil {
		t.Fatal(err)
	}
	images, err := LooseImages(t.Context(), appOf(t, data), data)
	if want := slices.Sorted(maps.Keys(lockedImages())); err != nil || !slices.Equal(images, want) {
		t.Errorf("got %q, %v", images, err)
	}
}
