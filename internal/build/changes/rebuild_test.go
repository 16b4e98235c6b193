package changes_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/build/daemonless"
	"github.com/nationtech/harmony/internal/chart/pack"
	"github.com/nationtech/harmony/internal/chart/values"
	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// envCommits is how many commits TestAffectedIsWhatARebuildShows makes; 6 without it.
const envCommits = "HARMONY_TEST_COMMITS"

// generated is a monorepo that is made, and changed, at random: three Go programs that share
// packages, two Dockerfiles, a static site; charts, values files, a workload.
type generated struct {
	repository
	random *rand.Rand
	// uses are the shared packages that each Go program imports.
	uses   map[string][]string
	values map[string]int // of the AppSpecs, by app
	count  int
}

var shared = []string{"log", "store", "wire"}

func generate(t *testing.T, seed uint64) *generated {
	g := &generated{
		repository: newRepository(t), random: rand.New(rand.NewPCG(seed, 1)),
		uses: map[string][]string{"api": {"log"}, "web": {"log", "store"}, "job": nil}, values: map[string]int{},
	}
	g.write("go.mod", "module example.com/mono\n\ngo 1.24\n")
	for _, name := range shared {
		g.write("pkg/"+name+"/"+name+".go", "package "+name+"\n\nimport _ \"embed\"\n\n//go:embed data/*\nvar Data string\n")
		g.write("pkg/"+name+"/data/text", name)
	}
	for app := range g.uses {
		g.program(app)
	}
	for _, app := range []string{"tool", "worker"} {
		g.write(app+"/Dockerfile", "FROM scratch\nCOPY src /src\nCOPY *.txt /\n")
		g.write(app+"/.dockerignore", "src/*.log\nsrc/tmp\n")
		g.write(app+"/src/run", "run")
		g.write(app+"/a.txt", "a")
	}
	g.write("site/public/index.html", "<p>hello")
	for _, app := range g.apps() {
		g.write("charts/"+app+"/Chart.yaml", "apiVersion: v2\nname: "+app+"\nversion: 0.1.0\n")
		g.write("charts/"+app+"/values.yaml", "image: \"\"\nreplicas: 1\n")
		g.write("charts/"+app+"/production.yaml", "replicas: 3\n")
		g.write("charts/"+app+"/.helmignore", "*.md\n")
		g.write("charts/"+app+"/templates/pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: "+app+"}\nspec:\n  containers:\n    - {name: app, image: \"{{ .Values.image }}\"}\n")
	}
	g.project()
	g.commit("feat: everything")
	return g
}

func (g *generated) apps() []string { return []string{"api", "web", "job", "tool", "worker", "site"} }

// program writes a main package.
func (g *generated) program(app string) {
	var text strings.Builder
	text.WriteString("package main\n\n")
	for _, name := range g.uses[app] {
		fmt.Fprintf(&text, "import %q\n", "example.com/mono/pkg/"+name)
	}
	text.WriteString("\nfunc main() {\n")
	for _, name := range g.uses[app] {
		fmt.Fprintf(&text, "\tprintln(%s.Data)\n", name)
	}
	text.WriteString("}\n")
	g.write("cmd/"+app+"/main.go", text.String())
}

// project writes harmony.yaml.
func (g *generated) project() {
	var text strings.Builder
	for _, app := range g.apps() {
		image := "buildable: {type: go, main: ./cmd/" + app + "}"
		switch app {
		case "tool", "worker":
			image = "dockerfile: {context: " + app + "}"
		case "site":
			image = "buildable: {type: static, folder: site/public}"
		}
		fmt.Fprintf(&text, `---
apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: %[1]s}
spec:
  image: {%[2]s, platforms: [linux/amd64]}
  chart: {path: charts/%[1]s, image: {value: image}}
  targets:
    production: {values: {level: %[3]d}, valuesFiles: [production.yaml]}
`, app, image, g.values[app])
	}
	g.write("harmony.yaml", text.String())
}

func (g *generated) one(of ...string) string { return of[g.random.IntN(len(of))] }

// change changes something, and says what.
func (g *generated) change() string {
	g.count++
	app, goApp, docker, pkg := g.one(g.apps()...), g.one("api", "web", "job"), g.one("tool", "worker"), g.one(shared...)
	n := strconv.Itoa(g.count)
	changes := []func() string{
		func() string {
			g.write("pkg/"+pkg+"/more.go", "package "+pkg+"\n\nvar More = "+n+"\n")
			return "edit " + pkg
		},
		func() string {
			g.write("pkg/"+pkg+"/more_test.go", "package "+pkg+"\n\n// "+n+"\n")
			return "test of " + pkg
		},
		func() string {
			g.write("pkg/"+pkg+"/more_windows.go", "package "+pkg+"\n\n// "+n+"\n")
			return "windows of " + pkg
		},
		func() string { g.write("pkg/"+pkg+"/README.md", n); return "readme of " + pkg },
		func() string { g.write("pkg/"+pkg+"/data/text", pkg+n); return "embedded in " + pkg },
		func() string {
			g.uses[goApp] = shared[:g.random.IntN(len(shared)+1)]
			g.program(goApp)
			return "imports of " + goApp
		},
		func() string { g.write("go.mod", "module example.com/mono\n\ngo 1.24\n\n// "+n+"\n"); return "go.mod" },
		func() string { g.write(docker+"/src/run", n); return "copied by " + docker },
		func() string { g.write(docker+"/src/"+n+".log", n); return "ignored by " + docker },
		func() string { g.write(docker+"/other/"+n, n); return "not named by " + docker },
		func() string {
			g.write(docker+"/.dockerignore", g.one("", "src/*.log\n", "src/tmp\n", "a.txt\n"))
			return "dockerignore of " + docker
		},
		func() string { g.git("mv", "-k", docker+"/a.txt", docker+"/b.txt"); return "rename in " + docker },
		func() string { g.git("mv", "-k", docker+"/b.txt", docker+"/a.txt"); return "rename back in " + docker },
		func() string {
			g.git("update-index", "--chmod="+g.one("+x", "-x"), docker+"/src/run")
			g.git("checkout", docker+"/src/run")
			return "mode in " + docker
		},
		func() string { g.write("site/public/"+g.one("a", "b")+".html", n); return "page" },
		func() string { g.write("site/"+n+".md", n); return "beside the site" },
		func() string { g.write("charts/"+app+"/templates/more.yaml", "# "+n+"\n"); return "template of " + app },
		func() string { g.write("charts/"+app+"/notes.md", n); return "ignored in the chart of " + app },
		func() string {
			g.write("charts/"+app+"/Chart.yaml", "apiVersion: v2\nname: "+app+"\nversion: 0.1."+n+"\n")
			return "chart version of " + app
		},
		func() string {
			g.write("charts/"+app+"/values.yaml", "image: \"\"\nreplicas: "+n+"\n")
			return "values of " + app
		},
		func() string {
			g.write("charts/"+app+"/production.yaml", g.one("replicas: 3\n", "replicas: 4\n"))
			return "values file of " + app
		},
		func() string { g.values[app]++; g.project(); return "AppSpec of " + app },
		func() string { g.write("docs/"+n+".md", n); return "docs" },
	}
	return changes[g.random.IntN(len(changes))]()
}

// rebuilt is what building and packaging everything makes of the checked-out commit, and
// what the AppSpec says.
func (g *generated) rebuilt(cache string) map[string]string {
	g.Helper()
	project, err := config.Load(filepath.Join(g.dir, "harmony.yaml"))
	if err != nil {
		g.Fatal(err)
	}
	builder, err := daemonless.New(nil)(g.Context(), capability.Environment{Cache: cache, DryRun: true, Progress: func(protocol.Event) {}})
	if err != nil {
		g.Fatal(err)
	}
	made := map[string]string{}
	for _, app := range project.Apps {
		app.Version = "1.0.0"
		image, err := builder.BuildImage(g.Context(), app)
		if err != nil {
			g.Fatalf("%s: %v", app.Name, err)
		}
		same := protocol.ImageRef{Metadata: app.Metadata, Registry: "registry.example.com", Repository: app.Name, Tag: "1.0.0", Digest: "sha256:" + strings.Repeat("1", 64)}
		chart, err := pack.Pack(g.Context(), app, same)
		if err != nil {
			g.Fatalf("%s: %v", app.Name, err)
		}
		of, err := values.Of(g.Context(), app, "production")
		if err != nil {
			g.Fatal(err)
		}
		spec, err := json.Marshal(app)
		if err != nil || image.InputDigest == "" {
			g.Fatalf("%s: %v, input digest %q", app.Name, err, image.InputDigest)
		}
		made[app.Name] = fmt.Sprintln(image.InputDigest, chart.Digest(), of.Digest, string(spec))
	}
	return made
}

// The bar of harmony affected: on random commits it names exactly the apps of which a
// rebuild makes another image or chart.
func TestAffectedIsWhatARebuildShows(t *testing.T) {
	commits := 6
	if text := os.Getenv(envCommits); text != "" {
		var err error
		if commits, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	g := generate(t, 7)
	cache := t.TempDir()
	before := g.rebuilt(cache)
	changed, unchanged := 0, 0
	for range commits {
		var what []string
		for range 1 + g.random.IntN(2) {
			what = append(what, g.change())
		}
		g.commit(strings.Join(what, ", "))
		after := g.rebuilt(cache)
		var want []string
		for _, app := range g.apps() {
			if before[app] != after[app] {
				want = append(want, app)
			}
		}
		got := g.affected("--since", "HEAD~")
		if got != strings.Join(want, " ") {
			t.Errorf("%s: affected says [%s], a rebuild shows %v", strings.Join(what, ", "), got, want)
		}
		before = after
		changed, unchanged = changed+len(want), unchanged+len(g.apps())-len(want)
	}
	t.Logf("%d commits: %d images or charts changed, %d did not", commits, changed, unchanged)
	if commits >= 6 && (changed == 0 || unchanged == 0) {
		t.Error("the commits show nothing")
	}
}
