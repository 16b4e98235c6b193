package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeyChangesWithEveryInput(t *testing.T) {
	base := recipe{name: "app", module: "example.test/app", binaries: map[string]string{"app": "example.test/app/cmd"}}
	p := pins{mod: []byte("module x\n\nrequire example.test/app v1.2.3\n"), sum: []byte("sum")}
	key := func(r recipe, p pins, goVersion string) string {
		t.Helper()
		got, err := r.key(p, goVersion)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := key(base, p, "go1.26.8")
	if !strings.HasPrefix(first, "app-1.2.3-") || first != key(base, p, "go1.26.8") {
		t.Fatalf("key %q is not app-1.2.3-HASH, or not stable", first)
	}
	stamped := base
	stamped.stamps = []string{"main.version=v$version"}
	seen := map[string]string{first: "base"}
	for what, got := range map[string]string{
		"go.mod":     key(base, pins{mod: append(p.mod, "// x"...), sum: p.sum}, "go1.26.8"),
		"go.sum":     key(base, pins{mod: p.mod, sum: []byte("sum2")}, "go1.26.8"),
		"program":    key(base, pins{mod: p.mod, sum: p.sum, program: []byte("package main")}, "go1.26.8"),
		"Go version": key(base, p, "go1.26.9"),
		"recipe":     key(stamped, p, "go1.26.8"),
	} {
		if other, ok := seen[got]; ok {
			t.Errorf("another %s gives the same key as %s", what, other)
		}
		seen[got] = what
	}
}

func TestArgsStampTheVersion(t *testing.T) {
	r := recipe{binaries: map[string]string{"b": "x/b", "a": "x/a"}, stamps: []string{"v.full=v$version", "v.minor=$minor"}}
	got := strings.Join(r.args("1.34.4", "/out"), " ")
	want := "build -buildvcs=false -gcflags=all=-dwarf=false -ldflags -s -w -X v.full=v1.34.4 -X v.minor=34 -o /out/ x/a x/b"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Every recipe's folder is there, pins its module, and names its packages as tools.
func TestRecipesMatchVersions(t *testing.T) {
	for _, r := range recipes() {
		p, err := readPins(filepath.Join("versions", r.name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.version(p); err != nil {
			t.Error(err)
		}
		for _, pkg := range r.binaries {
			if pkg != "." && !strings.Contains(string(p.mod), pkg+"\n") {
				t.Errorf("versions/%s/go.mod has no tool %s", r.name, pkg)
			}
		}
	}
	dirs, err := os.ReadDir("versions")
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) != len(recipes()) {
		t.Errorf("%d folders in versions, %d recipes", len(dirs), len(recipes()))
	}
}

func TestTail(t *testing.T) {
	if got := tail([]byte("a\nb\nc\n"), 2); got != "b\nc" {
		t.Errorf("got %q", got)
	}
	if got := tail([]byte(strings.Repeat("é", 200)), 1); got != strings.Repeat("é", 150)+"…" {
		t.Errorf("got %q", got)
	}
	if got := tail(nil, 2); got != "" {
		t.Errorf("got %q", got)
	}
}
