package pack

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/chart/upstream"
	"github.com/nationtech/harmony/pkg/protocol"
)

// redis is a chart of others: its image has its appVersion for a tag.
func redis() tree {
	return tree{
		"Chart.yaml":                []byte("apiVersion: v2\nname: redis\nversion: 20.1.0\nappVersion: \"7.4.1\"\n"),
		"values.yaml":               []byte("image: {repository: docker.io/library/redis, tag: \"\"}\n"),
		"templates/deployment.yaml": []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n    - {name: x, image: \"{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}\"}\n{{ if .Values.broken }}{{ fail \"it is broken\" }}{{ end }}\n"),
	}
}

// appOf is an app that takes the archive from a repository of the test.
func appOf(t *testing.T, data []byte) protocol.AppSpec {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }))
	t.Cleanup(server.Close)
	return protocol.AppSpec{
		Metadata: protocol.Metadata{Name: "cache", Version: "1.4.0"}, ProjectRoot: t.TempDir(),
		Chart: protocol.ChartSource{
			URL: server.URL, Name: "redis", Version: "20.1.0",
			Locked: &protocol.LockedChart{Digest: upstream.Chart{Archive: data}.Digest(), Archive: server.URL + "/redis.tgz"},
		},
	}
}

// A chart of others is published byte for byte, with its own version.
func TestPackPublished(t *testing.T) {
	data, err := archive("redis", redis())
	if err != nil {
		t.Fatal(err)
	}
	packed, err := Pack(t.Context(), appOf(t, data), protocol.ImageRef{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(packed.Archive, data) || packed.Name != "redis" || packed.Version != "20.1.0" || !packed.Image.IsZero() {
		t.Errorf("packed %s %s, %d bytes of %d", packed.Name, packed.Version, len(packed.Archive), len(data))
	}
}

func TestPackPublishedRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		change func(tree, *protocol.AppSpec)
		want   string
	}{
		"values that it fails with": {func(_ tree, app *protocol.AppSpec) {
			app.Targets = map[string]protocol.TargetValues{"staging": {Values: map[string]any{"broken": true}}}
		}, `chart redis 20.1.0: with the values of target "staging"`},
		"another version": {func(_ tree, app *protocol.AppSpec) { app.Chart.Version = "20.2.0" }, `version is "20.1.0"`},
		"another name":    {func(_ tree, app *protocol.AppSpec) { app.Chart.Name = "valkey" }, `name is "redis"`},
		"a missing part": {func(files tree, _ *protocol.AppSpec) {
			files["Chart.yaml"] = append(files["Chart.yaml"], "dependencies: [{name: common, version: 2.0.0}]\n"...)
		}, "dependency common 2.0.0 of Chart.yaml is missing in charts/"},
	} {
		t.Run(name, func(t *testing.T) {
			files, changed := redis(), protocol.AppSpec{}
			c.change(files, &changed)
			data, err := archive("redis", files)
			if err != nil {
				t.Fatal(err)
			}
			app := appOf(t, data)
			c.change(files, &app)
			if _, err := Pack(t.Context(), app, protocol.ImageRef{}); protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v; want %q", err, c.want)
			}
		})
	}
}

// An app without an image keeps the images of its chart, and the appVersion, which may
// be their tag.
func TestPackWithoutImage(t *testing.T) {
	root := t.TempDir()
	files := map[string]string{}
	for name, data := range redis() {
		files["chart/"+name] = string(data)
	}
	write(t, root, files)
	packed, err := Pack(t.Context(), app(root, protocol.ChartImage{}), protocol.ImageRef{})
	if err != nil {
		t.Fatal(err)
	}
	made, err := unpack(packed.Archive, newBudget())
	if err != nil {
		t.Fatal(err)
	}
	if text := string(made["Chart.yaml"]); !strings.Contains(text, "version: \"1.4.0+build.7\"") || !strings.Contains(text, "appVersion: \"7.4.1\"") {
		t.Errorf("Chart.yaml:\n%s", text)
	}
	if text := string(made["values.yaml"]); text != string(redis()["values.yaml"]) {
		t.Errorf("values.yaml:\n%s", text)
	}
}
