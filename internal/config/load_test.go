package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/pkg/protocol"
)

// wanted reads the problems that a file of testdata announces: behind #! in
// the line that has them.
func wanted(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for i, line := range strings.Split(string(data), "\n") {
		_, marks, ok := strings.Cut(line, " #! ")
		if !ok {
			continue
		}
		for _, text := range strings.Split(marks, " ## ") {
			lines = append(lines, fmt.Sprintf("%s:%d: %s", file, i+1, strings.ReplaceAll(text, "{root}", root)))
		}
	}
	return lines
}

func TestLoadTellsEveryProblem(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			_, err := config.Load(file)
			if protocol.ExitCode(err) != protocol.ExitInvalid {
				t.Fatalf("exit code %d: %v", protocol.ExitCode(err), err)
			}
			if want := strings.Join(wanted(t, file), "\n"); err.Error() != want {
				t.Errorf("got\n%v\nwant\n%s", err, want)
			}
		})
	}
}

// write makes a harmony.yaml in a folder of that name.
func write(t *testing.T, folder, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), folder, "harmony.yaml")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func load(t *testing.T, folder, text string) *config.Project {
	t.Helper()
	project, err := config.Load(write(t, folder, text))
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// app is the shortest AppSpec; more is appended to its spec.
func app(name, more string) string {
	return fmt.Sprintf(`---
apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: %s}
spec:
  image: {buildable: {type: go}}
  chart: {path: chart, image: {value: image}}
%s`, name, more)
}

func TestLoad(t *testing.T) {
	p := load(t, "My Shop_2", app("shop", `  projectRoot: ../My Shop_2
  smoke: [{name: ready, rollout: {}, timeout: 1m30s}]
  targets:
    staging: &base
      values: {replicas: 1, ratio: 0.5, on: true, none: null, day: 2026-01-02, list: [a, {b: c}], 'yes': yes}
      valuesFiles: [a.yaml]
    production:
      <<: *base
      values: {<<: [{replicas: 3}, {replicas: 4, log: info}], ratio: 1}
`)+"---\n"+app("stock", "  dependsOn: [shop]\n"))
	if p.Name != "my-shop-2" || len(p.Apps) != 2 || p.Root != filepath.Dir(p.File) {
		t.Fatalf("project %+v", p)
	}
	shop := p.Apps[0]
	if shop.Name != "shop" || shop.ProjectRoot != p.Root || p.Apps[1].ProjectRoot != p.Root {
		t.Errorf("app %+v", shop)
	}
	if got := time.Duration(shop.Smoke[0].Timeout); got != 90*time.Second {
		t.Errorf("timeout %v", got)
	}
	for target, want := range map[string]string{
		"staging":    "map[day:2026-01-02 list:[a map[b:c]] none:<nil> ratio:0.5 replicas:1 true:true yes:true] [a.yaml]",
		"production": "map[log:info ratio:1 replicas:3] [a.yaml]",
	} {
		v := shop.Targets[target]
		if got := fmt.Sprint(v.Values, v.ValuesFiles); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

func TestLoadExampleFleet(t *testing.T) {
	p, err := config.Load("../../examples/fleet/harmony.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.Names(), " "); p.Name != "fleet" || got != "fleet-callout fleet-operator fleet-agent" {
		t.Errorf("project %s of %s", p.Name, got)
	}
}

func TestLoadRefuses(t *testing.T) {
	bomb := "  targets:\n    staging:\n      values:\n        a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		n := fmt.Sprint("*a", i, ", ")
		bomb += fmt.Sprintf("        a%d: &a%d [%s]\n", i+1, i+1, strings.Repeat(n, 10))
	}
	merges := "  targets:\n    staging:\n      values:\n        m0: &m0 {x: y}\n"
	for i := range 40 {
		merges += fmt.Sprintf("        m%d: &m%d {<<: [*m%d, *m%d]}\n", i+1, i+1, i, i)
	}
	for name, test := range map[string]struct{ text, says string }{
		"empty":      {"# nothing\n", "is empty"},
		"large":      {strings.Repeat("# 34567\n", 1<<17+1), "is larger than 1048576 bytes"},
		"aliases":    {app("a", bomb), "too large once its aliases are written out"},
		"merges":     {app("a", merges), "too large once its aliases are written out"},
		"deep":       {app("a", "  targets: {staging: {values: {a: "+strings.Repeat("[", 200)+strings.Repeat("]", 200)+"}}}\n"), "nested more than 100 deep"},
		"long key":   {app("a", "  targets: {staging: {values: {? "+strings.Repeat("k", 2000)+" : 1}}}\n"), "a key is longer than 1024 bytes"},
		"not UTF-8":  {"a: \xff\n", "not YAML"},
		"open brace": {"a: b\nc: {d: e\nf: g\n", ":2: not YAML: did not find expected ',' or '}'"},
		"indent":     {"a:\n  - b\n c: d\n", ":3: not YAML: did not find expected key"},
		"open quote": {"a: b\nc: 'x\n", ":2: not YAML: found unexpected end of stream"},
		"no mapping": {"hello\n", "must be a mapping, is a single value"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := config.Load(write(t, "shop", test.text))
			if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %.300v, want an error that says %q", err, test.says)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
	folder := t.TempDir()
	if _, err := config.Load(folder); protocol.ExitCode(err) != protocol.ExitInvalid || err.Error() != "read "+folder+": is a directory" {
		t.Errorf("a folder: %v", err)
	}
}

// The same text means the same in harmony.yaml and in a values file, which Helm,
// Flux and Argo CD read as YAML 1.1; what cannot be is refused.
func TestValuesMeanWhatTheyMeanInAValuesFile(t *testing.T) {
	words := strings.Fields(`y Y yes Yes YES n N no No NO on On ON off Off OFF true True TRUE false False FALSE yEs oN null Null ~
		'no' "off" !!str_on 0 07 0644 0o17 0x1F 0b11 1_000 +1 -0 .5 5. 1e3 1.5e-3 .inf .NaN 1:20 2001-01-01 2001-01-01T00:00:00Z
		= 1.10 12345678901234567890 9007199254740993 v1.2 1.2.3 nope yes! off-line`)
	var accepted int
	for _, word := range words {
		word = strings.ReplaceAll(word, "_on", " on")
		for _, text := range []string{"a: " + word, "a: [" + word + "]", word + ": a", "a: {b: {" + word + ": 1}}"} {
			p, err := config.Load(write(t, "shop", app("shop", "  targets: {staging: {values: {"+text+"}}}\n")))
			if err != nil {
				if protocol.ExitCode(err) != protocol.ExitInvalid {
					t.Errorf("%s: %v", text, err)
				}
				continue
			}
			accepted++
			var helm map[string]any
			if err := yaml.Unmarshal([]byte("{"+text+"}"), &helm); err != nil {
				t.Errorf("%s: Helm refuses it: %v", text, err)
				continue
			}
			got, _ := json.Marshal(p.Apps[0].Targets["staging"].Values)
			want, _ := json.Marshal(helm)
			if string(got) != string(want) {
				t.Errorf("%s: is %s, in a values file %s", text, got, want)
			}
		}
	}
	if accepted < 2*len(words) {
		t.Errorf("only %d of %d texts were accepted", accepted, 4*len(words))
	}
}

func TestFind(t *testing.T) {
	file := write(t, "shop", app("shop", ""))
	inner := filepath.Join(filepath.Dir(file), "a", "b")
	// A folder of that name is not the file.
	if err := os.MkdirAll(filepath.Join(inner, "harmony.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(file), inner} {
		if found, err := config.Find(dir); err != nil || found != file {
			t.Errorf("Find(%s) = %s, %v", dir, found, err)
		}
	}
	t.Chdir(inner)
	if found, err := config.Find("."); err != nil || found != file {
		t.Errorf("Find(.) = %s, %v", found, err)
	}
	empty := t.TempDir()
	if err := os.WriteFile(filepath.Join(empty, "harmony.yml"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := config.Find(empty)
	if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(protocol.HintOf(err), "rename harmony.yml") {
		t.Errorf("Find in an empty folder: %v, hint %q", err, protocol.HintOf(err))
	}
}

// What a found harmony.yaml says is carried out: who could have written it counts.
func TestFindTrustsOnlyTheUsersFiles(t *testing.T) {
	dir := t.TempDir()
	file := write(t, "shop", app("shop", ""))
	for name, prepare := range map[string]func() error{
		"file":   func() error { return os.Chmod(file, 0o666) },
		"folder": func() error { return os.Chmod(filepath.Dir(file), 0o777) },
		"above":  func() error { return os.Chmod(filepath.Dir(filepath.Dir(file)), 0o777) },
	} {
		if err := prepare(); err != nil {
			t.Fatal(err)
		}
		_, err := config.Find(filepath.Dir(file))
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(fmt.Sprint(err), "writable by others") || !strings.Contains(protocol.HintOf(err), "--file") {
			t.Errorf("%s: %v, hint %q", name, err, protocol.HintOf(err))
		}
		t.Setenv("GITHUB_WORKSPACE", filepath.Dir(file))
		if _, err := config.Find(filepath.Dir(file)); err != nil {
			t.Errorf("%s, in the workspace of a CI runner: %v", name, err)
		}
		t.Setenv("GITHUB_WORKSPACE", dir)
		for path, mode := range map[string]os.FileMode{file: 0o644, filepath.Dir(file): 0o755, filepath.Dir(filepath.Dir(file)): 0o755} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := config.Find(filepath.Dir(file)); err != nil {
		t.Error(err)
	}
}

// Files above the top of a work tree, or above the home, are of another project.
func TestFindStopsAtTheTop(t *testing.T) {
	file := write(t, "shop", app("shop", ""))
	inner := filepath.Join(filepath.Dir(file), "clone", "cmd")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	if found, err := config.Find(inner); err != nil || found != file {
		t.Fatalf("found %s, %v", found, err)
	}
	t.Setenv("HOME", filepath.Dir(inner))
	if found, err := config.Find(inner); err == nil {
		t.Errorf("found %s above the home", found)
	}
	t.Setenv("HOME", t.TempDir())
	if err := os.Mkdir(filepath.Join(filepath.Dir(inner), ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	if found, err := config.Find(inner); err == nil {
		t.Errorf("found %s above the work tree", found)
	}
}

func TestProjectRootStaysInTheProject(t *testing.T) {
	file := write(t, "shop/deploy", app("shop", "  projectRoot: ..\n"))
	top := filepath.Dir(filepath.Dir(file))
	if _, err := config.Load(file); err == nil || !strings.Contains(err.Error(), "spec.projectRoot") || !strings.Contains(err.Error(), "is outside of") {
		t.Errorf("a root above the folder: %v", err)
	}
	if err := os.Mkdir(filepath.Join(top, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	if p, err := config.Load(file); err != nil || p.Apps[0].ProjectRoot != top {
		t.Errorf("a root in the work tree: %v", err)
	}
	for name, root := range map[string]string{"absolute": "/", "above": "../../.."} {
		if err := os.WriteFile(file, []byte(app("shop", "  projectRoot: "+root+"\n")), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := config.Load(file); err == nil || !strings.Contains(err.Error(), "is outside of") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := errors.Join(os.Symlink(t.TempDir(), filepath.Join(top, "link")), os.WriteFile(file, []byte(app("shop", "  projectRoot: ../link\n")), 0o644)); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(file); err == nil || !strings.Contains(err.Error(), "is outside of") {
		t.Errorf("a link out of the work tree: %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "../../examples/fleet/harmony.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	file := filepath.Join(f.TempDir(), "harmony.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		p, err := config.Load(file)
		if err != nil {
			if protocol.ExitCode(err) != protocol.ExitInvalid {
				t.Errorf("exit code %d: %v", protocol.ExitCode(err), err)
			}
			return
		}
		for _, a := range p.Apps {
			if err := a.Validate(); err != nil {
				t.Errorf("an accepted app is not valid: %v", err)
			}
		}
	})
}

// The reader knows texts, numbers, booleans and what is made of them. A field
// of another type in the protocol needs a case there.
func TestReaderKnowsEveryType(t *testing.T) {
	seen := map[reflect.Type]bool{}
	var visit func(reflect.Type)
	visit = func(typ reflect.Type) {
		if seen[typ] {
			return
		}
		seen[typ] = true
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			visit(typ.Elem())
		case reflect.Map:
			if typ.Key().Kind() != reflect.String {
				t.Errorf("%v: a key that is no text", typ)
			}
			visit(typ.Elem())
		case reflect.Struct:
			for i := range typ.NumField() {
				visit(typ.Field(i).Type)
			}
		case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64, reflect.Interface:
		default:
			t.Errorf("the reader has no case for %v", typ)
		}
	}
	visit(reflect.TypeFor[protocol.AppSpec]())
	visit(reflect.TypeFor[protocol.Topology]())
	if len(seen) < 20 {
		t.Errorf("only %d types seen", len(seen))
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := config.Load("../../examples/fleet/harmony.yaml"); err != nil {
			b.Fatal(err)
		}
	}
}

// A number is taken with and without a fraction, and as nothing else.
func TestNumbers(t *testing.T) {
	const text = `apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: shop}
spec:
  image: {dockerfile: {}}
  chart: {path: chart}
  smoke: [{name: errors, prometheus: {service: prometheus, query: up, min: 1, max: %s}}]
`
	for max, want := range map[string]string{"2": "", "2.5": "", "'2'": "spec.smoke[0].prometheus.max: must be a number", "yes": "must be a number", ".inf": "cannot be kept exactly"} {
		file := filepath.Join(t.TempDir(), config.FileName)
		if err := os.WriteFile(file, fmt.Appendf(nil, text, max), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := config.Load(file)
		switch {
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", max, err, want)
		case want == "" && err != nil:
			t.Errorf("%s: %v", max, err)
		case want == "" && (*p.Apps[0].Smoke[0].Prometheus.Min != 1 || *p.Apps[0].Smoke[0].Prometheus.Max < 2):
			t.Errorf("%s: %+v", max, p.Apps[0].Smoke[0].Prometheus)
		}
	}
}

// A kind of check that is not built in is taken as it is.
func TestKindsOfChecks(t *testing.T) {
	const text = `apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: shop}
spec:
  image: {dockerfile: {}}
  chart: {path: chart}
  smoke: [{name: orders, %s}]
`
	for check, want := range map[string]string{
		"sql: {query: select 1, equals: {}}": "",
		"sql: {a: 1}, http: {url: http://x}": ":7: spec.smoke[0]: needs exactly one kind, and has http and sql",
		"sql: {}, rows: {}":                  "spec.smoke[0]: needs exactly one kind, and has rows and sql",
		"sql: select 1":                      ":7: spec.smoke[0].sql: unknown field",
		"Sql: {}":                            "spec.smoke[0].Sql: unknown field",
		"sql: {a: 1, a: 2}":                  "spec.smoke[0].sql.a",
		"timeout: 1s":                        "spec.smoke[0]: needs a kind: one of rollout, http",
	} {
		file := filepath.Join(t.TempDir(), config.FileName)
		if err := os.WriteFile(file, fmt.Appendf(nil, text, check), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := config.Load(file)
		switch {
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", check, err, want)
		case want == "" && err != nil:
			t.Errorf("%s: %v", check, err)
		case want == "" && p.Apps[0].Smoke[0].Other["sql"]["query"] != "select 1":
			t.Errorf("%s: %+v", check, p.Apps[0].Smoke[0])
		}
	}
}
