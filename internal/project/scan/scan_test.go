package scan_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/internal/project/scan"
	"github.com/nationtech/harmony/pkg/protocol"
)

func project(files map[string]string) fs.FS {
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

// written is the harmony.yaml for files, or the notes where there is no app.
func written(t *testing.T, files map[string]string, o scan.Options) string {
	t.Helper()
	found, err := scan.Project(t.Context(), project(files))
	if err != nil {
		t.Fatal(err)
	}
	text, err := found.Write(found.Apps(o))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const web = "apiVersion: v2\nname: web\nversion: 0.1.0\n"

func TestProject(t *testing.T) {
	scratch := "FROM scratch\n"
	for name, test := range map[string]struct {
		files        map[string]string
		generate     bool
		want, absent []string
	}{
		"chart and image of one name": {
			files: map[string]string{"charts/web/Chart.yaml": web, "charts/api/Chart.yaml": strings.ReplaceAll(web, "web", "api"), "Dockerfile.api": scratch, "images/web/Dockerfile": scratch},
			want:  []string{"metadata: {name: api}", "path: Dockerfile.api}", "metadata: {name: web}", "context: images/web}"},
		},
		"a chart in the folder of its image": {
			files: map[string]string{"services/a/Dockerfile": scratch, "services/a/deploy/Chart.yaml": web, "services/b/Dockerfile": scratch},
			want:  []string{"path: services/a/Dockerfile", "chart: {path: services/a/deploy}", "services/b/Dockerfile: no chart is for this image"},
		},
		"one chart, and two images that it may run": {
			files:  map[string]string{"chart/Chart.yaml": web, "x/Dockerfile": scratch, "y/Dockerfile": scratch},
			want:   []string{"which image the chart web runs is not clear: x/Dockerfile, y/Dockerfile"},
			absent: []string{"kind: AppSpec"},
		},
		"a Dockerfile that copies from the top": {
			files:    map[string]string{"build/shop/Dockerfile": "FROM scratch\nCOPY go.mod main.go /\n", "go.mod": "module x\n", "main.go": "package main\nfunc main() {}\n"},
			generate: true,
			want:     []string{"{dockerfile: {path: build/shop/Dockerfile}}", "name: shop"},
			absent:   []string{"buildable"},
		},
		"what belongs to others": {
			files: map[string]string{
				"node_modules/x/Dockerfile": scratch, ".git/Dockerfile": scratch, "chart/Chart.yaml": web, "chart/charts/db/Chart.yaml": web, "chart/templates/x.yaml": "{{ bad",
				"vendor/x/Dockerfile": scratch, "other/harmony.yaml": "", "other/Dockerfile": scratch, "Dockerfile.dev": scratch, "examples/Dockerfile": scratch,
			},
			want:   []string{"chart/Chart.yaml: no image was found for this chart", "other/harmony.yaml: a project of its own", "Dockerfile.dev: an image for developers"},
			absent: []string{"node_modules", ".git/", "db", "vendor", "bad", "other/Dockerfile", "kind: AppSpec"},
		},
		"Go main packages": {
			files: map[string]string{
				"go.mod": "module x\n", "cmd/shop/main.go": "package main\nimport \"net/http\"\nfunc main() { http.ListenAndServe(\":9090\", nil) }\n",
				"cmd/lint/lint.go": "//go:build ignore\n\npackage main\nfunc main() {}\n", "lib/lib.go": "package lib\n", "nomodule.go": "package main\n",
				"cmd/two/main.go": "package main\nvar a, b = \":80\", \":443\"\nfunc main() {}\n",
			},
			generate: true,
			want:     []string{"main: ./cmd/shop}", "ports: [{name: http, port: 9090}]", "cmd/two/main.go:2: several listen ports were seen (80 443)", "main: ./cmd/two}"},
			absent:   []string{"lint", "lib.go"},
		},
		"a library chart and a chart of others": {
			files: map[string]string{
				"Dockerfile": scratch, "lib/Chart.yaml": web + "type: library\n", "all/Chart.yaml": web + "dependencies: [{name: db, version: 1.0.0}]\n",
				"web/Chart.yaml": web, "web/templates/x.yaml": "",
			},
			want: []string{"lib/Chart.yaml: a library chart", "all/Chart.yaml: a chart of other charts", "chart: {path: web}"},
		},
		"names that are none, or taken": {
			files:    map[string]string{"2048/Dockerfile": scratch, "My Shop/Dockerfile": scratch, "my_shop/Dockerfile": scratch},
			generate: true,
			want:     []string{"{name: app-2048}", "{name: my-shop}", "{name: my-shop-2}", "path: My Shop/Dockerfile"},
		},
		"a name with a line end": {
			files:    map[string]string{"a\nkind: Evil\n#/Dockerfile": scratch},
			generate: true,
			want:     []string{"# a kind: Evil #/Dockerfile"},
			absent:   []string{"\nkind: Evil"},
		},
		"files that are broken": {
			files: map[string]string{"skaffold.yaml": "a: [\n", "compose.yaml": "services: {a: {build: ../x}, b: {build: [}", "Chart.yaml": "- x\n", "werf.yaml": "project: {{ env }}x\n"},
			want:  []string{"skaffold.yaml:", "not YAML", "compose.yaml:", "werf.yaml:1: a template"},
		},
		"services that depend on others": {
			files: map[string]string{"compose.yaml": "services:\n  a: {build: ., depends_on: [b, db]}\n  b: {build: b, depends_on: {db: {}}}\n  db: {image: postgres}\n"},
			want:  []string{"compose.yaml:4: the service db has an image of others (postgres)", "\n  dependsOn: [b]\n---"},
		},
		"what is not in the project": {
			files:  map[string]string{"compose.yaml": "services:\n  a: {build: ../x}\n  b: {build: 'https://git.example.com/x.git'}\n  c: {build: {context: ., dockerfile: ../../etc/passwd}}\n"},
			want:   []string{`compose.yaml:2: the context "../x"`, "compose.yaml:3: ", "compose.yaml:4: "},
			absent: []string{"kind: AppSpec"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			text := written(t, test.files, scan.Options{Project: "top", Generate: test.generate})
			for _, want := range test.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %q", want)
				}
			}
			for _, absent := range test.absent {
				if strings.Contains(text, absent) {
					t.Errorf("%q", absent)
				}
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

// What a Dockerfile says about the container is what the generated chart is told.
func TestWorkloadOfADockerfile(t *testing.T) {
	for name, test := range map[string]struct{ text, chart, note string }{
		"port and user":        {"FROM x\nEXPOSE 9000\nUSER 1000:2000\n", "{workload: {ports: [{name: http, port: 9000}], security: {runAsUser: 1000, runAsGroup: 2000}}}", ""},
		"the last stage":       {"FROM x AS build\nEXPOSE 1\nUSER 5\nFROM y\nEXPOSE 9000\nUSER 65532\n", "{workload: {ports: [{name: http, port: 9000}]}}", ""},
		"of an earlier stage":  {"FROM x AS base\nEXPOSE 9000/tcp\nUSER 7\nFROM base\n", "{workload: {ports: [{name: http, port: 9000}], security: {runAsUser: 7}}}", ""},
		"variables":            {"ARG P=9000\nFROM x\nARG P\nENV U=8\nEXPOSE $P ${Q:-9001}/udp\nUSER ${U}\n", "{workload: {ports: [{name: http, port: 9000}, {name: udp-9001, port: 9001, protocol: UDP}], security: {runAsUser: 8}}}", ""},
		"an unknown variable":  {"FROM x\nEXPOSE $P\nUSER 8\n", "{workload: {security: {runAsUser: 8}}}", "Dockerfile:2: EXPOSE $P is not understood"},
		"root":                 {"FROM x\nEXPOSE 9000\n", "{workload: {ports: [{name: http, port: 9000}]}}", "the image runs as root"},
		"a name":               {"FROM x\nEXPOSE 9000\nUSER node\n", "{workload: {ports: [{name: http, port: 9000}]}}", "Dockerfile:3: user node is not a number"},
		"a low port":           {"FROM x\nEXPOSE 80\nUSER nonroot\n", "{workload: {ports: [{name: http, port: 80}]}}", "Dockerfile:2: port 80 needs root"},
		"nothing":              {"FROM x\nUSER nonroot\n", "{workload: {}}", "no EXPOSE"},
		"lines and comments":   {"FROM x\nEXPOSE \\\n # no\n\n 9000\nuser 8\n", "{workload: {ports: [{name: http, port: 9000}], security: {runAsUser: 8}}}", ""},
		"a here-document":      {"FROM x\nRUN <<END\nEXPOSE 1\nUSER 1\nEND\nEXPOSE 9000\nUSER 8\n", "{workload: {ports: [{name: http, port: 9000}], security: {runAsUser: 8}}}", ""},
		"the escape directive": {"# escape=`\nFROM x\nEXPOSE `\n 9000\nUSER 8\n", "{workload: {ports: [{name: http, port: 9000}], security: {runAsUser: 8}}}", ""},
		"the base's user":      {"FROM gcr.io/distroless/static:nonroot\nEXPOSE 9000\n", "{workload: {ports: [{name: http, port: 9000}]}}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := written(t, map[string]string{"Dockerfile": test.text}, scan.Options{Project: "top", Generate: true})
			if !strings.Contains(text, "\n  chart: "+test.chart+"\n") || !strings.Contains(text, test.note) || test.note == "" && strings.Count(text, "\n#") != 2 {
				t.Errorf("want %s and %q in\n%s", test.chart, test.note, text)
			}
		})
	}
}

// A link in the project may lead anywhere: none is followed.
func TestLinksAreNotFollowed(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "Dockerfile"), []byte("FROM scratch\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"Dockerfile": outside + "/Dockerfile", "web": outside} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	found, err := scan.Project(t.Context(), root.FS())
	if err != nil || len(found.Images) > 0 {
		t.Errorf("got %+v, %v", found, err)
	}
	if _, err := scan.One(root.FS(), "Dockerfile"); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("by name: %v", err)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := scan.Project(ctx, project(nil)); protocol.ExitCode(err) != protocol.ExitInterrupted {
		t.Errorf("got %v", err)
	}
}

// Whatever a file says: reading it ends, and what is written from it is YAML that says
// the same. Not every proposal loads: a value may be none that harmony takes.
func FuzzOne(f *testing.F) {
	names := []string{"Dockerfile", "x/Chart.yaml", "skaffold.yaml", "helmfile.yaml", "werf.yaml", "a/compose.yaml", "argo.yaml"}
	for kind, text := range []string{
		"FROM scratch AS a\nEXPOSE $P 80/udp\nUSER a:b\nCOPY <<E /x\nE\nCOPY --from=a [\"x\", \"y\"]\n",
		web,
		"build: {artifacts: [{image: r/web, context: web, docker: {buildArgs: {A: b}}}, {image: k, ko: {main: ./cmd}}]}\ndeploy: {helm: {releases: [{name: web, chartPath: c, setValueTemplates: {image: '{{.IMAGE_REPO_r_web}}'}}]}}\n",
		"releases: [{name: web, chart: ./c}, {name: {{ x }}, chart: a/b}]\n",
		"project: x\n---\nimage: [a, b]\ndockerfile: D\n",
		"services: {a: &a {build: {context: ., args: [X=y, Z]}, ports: ['1:2/udp', {target: 3}], environment: {T: 'yes', N: 1, TOKEN: x}, command: [a], depends_on: {b: {}}}, b: *a}\n",
		"apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a}\nspec: {sources: [{path: c}, {chart: x, repoURL: y}]}\n---\napiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: b}\nspec: {chart: {spec: {chart: ./c, sourceRef: {kind: GitRepository}}}}\n",
	} {
		f.Add(kind, []byte(text))
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, kind int, data []byte) {
		found, err := scan.One(project(map[string]string{names[uint(kind)%uint(len(names))]: string(data)}), names[uint(kind)%uint(len(names))])
		if err != nil {
			return
		}
		apps := found.Apps(scan.Options{Project: "top", Generate: true})
		text, err := found.Write(apps)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, config.FileName)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		loaded, err := config.Load(file)
		if err != nil {
			if strings.Contains(err.Error(), "not YAML") || strings.Contains(err.Error(), "unknown field") {
				t.Errorf("%v\n%s", err, text)
			}
			return
		}
		for i, app := range loaded.Apps {
			if want := apps[i].Spec; app.Name != want.Name || app.Chart.Path != want.Chart.Path || len(app.Smoke) != len(want.Smoke) {
				t.Errorf("got %+v, want %+v\n%s", app, want, text)
			}
			if w := apps[i].Spec.Chart.Workload; w != nil {
				for name, value := range w.Env {
					if app.Chart.Workload.Env[name] != value {
						t.Errorf("%s is %q, want %q\n%s", name, app.Chart.Workload.Env[name], value, text)
					}
				}
			}
		}
	})
}

// A program's source is any text, too.
func FuzzGo(f *testing.F) {
	f.Add([]byte("//go:build linux\npackage main\nimport \"net/http\"\nvar addr = \":80\"\nfunc main() { http.ListenAndServe(\":8080\", http.FileServer(http.Dir(\"../ui\"))) }\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := scan.Project(t.Context(), project(map[string]string{"go.mod": "module x\n", "main.go": string(data)}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := found.Write(found.Apps(scan.Options{Project: "top", Generate: true})); err != nil {
			t.Fatal(err)
		}
	})
}
