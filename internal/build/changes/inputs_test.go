package changes_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/build/changes"
)

// goApp is a project whose one app has files, a base and a stamp, and a chart whose
// place for the image is found.
func goApp(t *testing.T) repository {
	t.Helper()
	r := newRepository(t)
	r.write("go.mod", "module example.com/web\n\ngo 1.24\n")
	r.write("main.go", "package main\n\nvar version string\n\nfunc main() { println(version) }\n")
	r.write("ui/index.html", "<p>hello")
	r.write("ui/draft.html", "<p>later")
	r.write("ui/.dockerignore", "draft.html\n")
	r.write("config.yaml", "a: b\n")
	r.write("chart/Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n")
	r.write("chart/values.yaml", "image: {repository: example/web, tag: v1}\nreplicas: 1\n")
	r.write("chart/templates/pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n    - {name: app, image: \"{{ .Values.image.repository }}:{{ .Values.image.tag }}\"}\n")
	r.write("harmony.yaml", goAppSpec("a"))
	r.commit("feat: everything")
	r.git("tag", "web-v1.0.0")
	return r
}

// goAppSpec has a base that no registry has, with a digest of that digit.
func goAppSpec(digit string) string {
	return `apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: web}
spec:
  image:
    platforms: [linux/amd64]
    buildable:
      type: go
      base: "localhost:1/base@sha256:` + strings.Repeat(digit, 64) + `"
      files: {ui: /ui, config.yaml: /etc/web/}
      ldflags: ["-X main.version={version}-{commit}-{date}"]
  chart: {path: chart}
`
}

// What a release sets is no change: the stamp, and the values that take the image.
func TestAffectedByWhatAGoAppHas(t *testing.T) {
	project := goApp(t)
	for _, test := range []struct {
		name, file, text string
		want             string
	}{
		{"a commit of something else", "README.md", "x", ""},
		{"a file of a folder in files", "ui/index.html", "<p>HELLO", "file ui/index.html changed"},
		{"one that its .dockerignore names", "ui/draft.html", "<p>now", ""},
		{"that .dockerignore", "ui/.dockerignore", "", "file ui/draft.html was added"},
		{"a file in files", "config.yaml", "a: c\n", "file config.yaml changed"},
		{"the base", "harmony.yaml", goAppSpec("b"), "AppSpec spec.image changed"},
		{"the values that take the image", "chart/values.yaml", "image: {repository: example/other, tag: v2}\nreplicas: 1\n", ""},
		{"another value", "chart/values.yaml", "image: {repository: example/web, tag: v1}\nreplicas: 2\n", "chart file values.yaml changed"},
		{"a chart without a place", "chart/templates/pod.yaml", "# nothing\n", "chart file templates/pod.yaml changed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := project.copied(t)
			r.write(test.file, test.text)
			r.commit("fix: this")
			out, errs, code := r.run("affected", "--since", "web-v1.0.0", "-o", "json")
			var found []changes.Affected
			if err := json.Unmarshal([]byte(out), &found); err != nil || code != 0 {
				t.Fatalf("exit status %d, %v\n%s%s", code, err, out, errs)
			}
			reasons := ""
			if len(found) > 0 {
				reasons = strings.Join(found[0].Reasons, "; ")
			}
			if test.want == "" && reasons != "" || !strings.Contains(reasons, test.want) {
				t.Errorf("reasons %q, want %q", reasons, test.want)
			}
			// Its commits are those that touched a file which is read.
			log, errs, code := r.run("changelog", "web", "--since", "1.0.0")
			if touched := test.want != "" || test.file == "chart/values.yaml"; code != 0 || strings.Contains(log, "this") != touched {
				t.Errorf("changelog: exit status %d, %q\n%s", code, log, errs)
			}
		})
	}
}
