package project_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/project"
	"github.com/nationtech/harmony/pkg/protocol"
)

const api = `"apiVersion":"harmony.nationtech.io/v1"`

// world is a folder to work in, and one on PATH.
type world struct {
	t         *testing.T
	dir, path string
	env       map[string]string
}

func newWorld(t *testing.T) world {
	w := world{t: t, dir: t.TempDir(), path: t.TempDir(), env: map[string]string{}}
	t.Chdir(w.dir)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	w.env["PATH"] = w.path + ":/usr/bin:/bin"
	return w
}

// plugin puts an app plugin on PATH, which notes each run in the file ran.
func (w world) plugin(name string, apps ...string) {
	w.t.Helper()
	var specs []string
	for _, app := range apps {
		specs = append(specs, fmt.Sprintf(`{%s,"kind":"AppSpec","metadata":{"name":%q},"spec":{"projectRoot":%q,"image":{"buildable":{"type":"go"}},"chart":{"path":"chart","image":{"value":"image"}}}}`, api, app, w.path))
	}
	w.answers(name, apps, strings.Join(specs, "\n"))
}

// answers is a plugin that answers apps with a text.
func (w world) answers(name string, apps []string, text string) {
	w.t.Helper()
	describe := fmt.Sprintf(`{%s,"kind":"PluginInfo","metadata":{"name":%q,"version":"1.0.0"},"spec":{"protocol":{"min":1,"max":1},"apps":["%s"]}}`, api, name, strings.Join(apps, `","`))
	script := fmt.Sprintf("#!/bin/sh\necho %s $1 >>%s/ran\ncase $1 in\ndescribe) echo '%s' ;;\napps) cat <<'END'\n%s\nEND\n;;\nesac\n", name, w.path, describe, text)
	if err := os.WriteFile(filepath.Join(w.path, "harmony-"+name), []byte(script), 0o755); err != nil {
		w.t.Fatal(err)
	}
}

// project writes a harmony.yaml with these apps.
func (w world) project(apps ...string) {
	w.t.Helper()
	var text strings.Builder
	for _, app := range apps {
		fmt.Fprintf(&text, "---\napiVersion: harmony.nationtech.io/v1\nkind: AppSpec\nmetadata: {name: %s}\nspec:\n  image: {buildable: {type: go}}\n  chart: {path: chart, image: {value: image}}\n", app)
	}
	if err := os.WriteFile("harmony.yaml", []byte(text.String()), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// find returns the apps of the project that is found, or the error.
func (w world) find(wanted project.Wanted) ([]string, error) {
	project, err := project.Source{Getenv: func(name string) string { return w.env[name] }}.Find(w.t.Context(), wanted)
	return project.Names(), err
}

func named(patterns ...string) project.Wanted { return project.Wanted{Patterns: patterns} }

func TestAppsOfAPlugin(t *testing.T) {
	for _, test := range []struct {
		name    string
		project []string // of harmony.yaml; none when empty
		wanted  project.Wanted
		env     string
		apps    []string
		err     string
	}{
		{"by name", nil, named("fleet-a"), "", []string{"fleet-a", "fleet-b"}, ""},
		{"by glob", nil, named("fleet-*"), "", []string{"fleet-a", "fleet-b"}, ""},
		{"by tag", nil, project.Wanted{Tag: "fleet-b-v1.4.0"}, "", []string{"fleet-a", "fleet-b"}, ""},
		{"all is not all that there is on a machine", nil, named("*"), "", nil, "no harmony.yaml"},
		{"nothing is no name either", nil, named(), "", nil, "no harmony.yaml"},
		{"unknown", nil, named("shop"), "", nil, "no harmony.yaml"},
		{"beside a project", []string{"web"}, named("fleet-a"), "", []string{"fleet-a", "fleet-b"}, ""},
		{"the project comes first", []string{"fleet-a", "web"}, named("fleet-a"), "", []string{"fleet-a", "web"}, ""},
		{"one of the project, one not", []string{"web"}, named("web", "fleet-a"), "", []string{"web"}, ""},
		{"a tag of the project", []string{"web"}, project.Wanted{Tag: "web-v1.0.0"}, "", []string{"web"}, ""},
		{"all of a project", []string{"web"}, named("*"), "", []string{"web"}, ""},
		{"two plugins", nil, named("shared"), "", nil, "harmony-two"},
		{"a plugin that is named", []string{"fleet-a"}, named("*"), "fleet", []string{"fleet-a", "fleet-b"}, ""},
		{"with its prefix", nil, named("shared"), "harmony-two", []string{"shared"}, ""},
		{"a name that is none", nil, named("fleet-a"), "absent", nil, "HARMONY_APP_PLUGIN"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.plugin("fleet", "fleet-a", "fleet-b")
			w.plugin("one", "shared")
			w.plugin("two", "shared")
			if len(test.project) > 0 {
				w.project(test.project...)
			}
			w.env[project.EnvAppPlugin] = test.env
			apps, err := w.find(test.wanted)
			if test.err == "" && err != nil || test.err != "" && (protocol.ExitCode(err) == 0 || !strings.Contains(err.Error(), test.err)) {
				t.Fatalf("error %v, want %q", err, test.err)
			}
			if !slices.Equal(apps, test.apps) {
				t.Errorf("apps %v, want %v", apps, test.apps)
			}
		})
	}
}

// Who has a harmony.yaml runs no plugin that happens to be on PATH.
func TestNoPluginIsAskedForAnAppOfTheProject(t *testing.T) {
	w := newWorld(t)
	w.plugin("fleet", "web")
	w.project("web")
	for _, wanted := range []project.Wanted{named("web"), named("*"), named(), {Tag: "web-v1.0.0"}} {
		if _, err := w.find(wanted); err != nil {
			t.Error(err)
		}
	}
	if ran, err := os.ReadFile(filepath.Join(w.path, "ran")); err == nil {
		t.Errorf("ran %s", ran)
	}
}

// A broken harmony.yaml is reported, not ignored.
func TestBrokenProject(t *testing.T) {
	w := newWorld(t)
	w.plugin("fleet", "fleet-a")
	w.project("web", "web")
	if _, err := w.find(named("fleet-a")); protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "already the name of the app") {
		t.Errorf("got %v", err)
	}
}

func TestAnswersOfAPluginAreChecked(t *testing.T) {
	spec := func(name, root, more string) string {
		return fmt.Sprintf(`{%s,"kind":"AppSpec","metadata":{"name":%q},"spec":{"projectRoot":%q,"image":{"buildable":{"type":"go"}},"chart":{"path":"chart","image":{"value":"image"}}%s}}`, api, name, root, more)
	}
	for name, test := range map[string]struct{ text, want string }{
		"a relative root":    {spec("fleet-a", "src", ""), "not an absolute path"},
		"a root that is not": {spec("fleet-a", "/nonexistent", ""), "projectRoot"},
		"an invalid app":     {spec("fleet-a", "/", `,"smoke":[{"name":"x"}]`), "spec.smoke[0]"},
		"two of one name":    {spec("fleet-a", "/", "") + "\n" + spec("fleet-a", "/", ""), "already the name of the app"},
		"a cycle":            {spec("fleet-a", "/", `,"dependsOn":["fleet-b"]`) + "\n" + spec("fleet-b", "/", `,"dependsOn":["fleet-a"]`), "spec.dependsOn"},
		"no document":        {"hello", "invalid answer"},
		"nothing":            {"", "it wrote no documents"},
		"a failure":          {`{` + api + `,"kind":"Failure","metadata":{},"spec":{"stage":"app","code":3,"message":"the \u001b[1msources are away"}}`, "the [1msources are away"},
		"a bad topology":     {`{` + api + `,"kind":"Topology","metadata":{"name":"X"},"spec":{}}`, "metadata.name"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.answers("fleet", []string{"fleet-a"}, test.text)
			_, err := w.find(named("fleet-a"))
			if protocol.ExitCode(err) == 0 || !strings.Contains(fmt.Sprint(err), test.want) || !strings.Contains(err.Error(), "harmony-fleet") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// A plugin's own topologies come before the built-in ones, whose namespaces take
// its name.
func TestTopologiesOfAPlugin(t *testing.T) {
	w := newWorld(t)
	app := fmt.Sprintf(`{%s,"kind":"AppSpec","metadata":{"name":"fleet-a"},"spec":{"projectRoot":"/","image":{"buildable":{"type":"go"}},"chart":{"path":"chart","image":{"value":"image"}}}}`, api)
	w.answers("fleet", []string{"fleet-a"}, app+"\n"+`{`+api+`,"kind":"Topology","metadata":{"name":"ci"},"spec":{"targets":{"lab":{"inCluster":{"namespace":"lab"}}}}}`)
	project, err := project.Source{Getenv: func(name string) string { return w.env[name] }}.Find(t.Context(), named("fleet-a"))
	if err != nil {
		t.Fatal(err)
	}
	none := func(string) string { return "" }
	own, err := project.Topology("ci", none)
	if err != nil || own.Targets["lab"].InCluster.Namespace != "lab" {
		t.Errorf("ci is %+v, %v", own, err)
	}
	local, err := project.Topology("local", none)
	if err != nil || local.Targets["staging"].InCluster.Namespace != "fleet-staging" {
		t.Errorf("local is %+v, %v", local, err)
	}
}
