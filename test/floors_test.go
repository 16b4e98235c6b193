package test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// floors are the folders of internal/, from the ground up. A folder imports only
// folders of the floors below its own. docs/architecture.md has the picture.
var floors = [][]string{
	{"cli"},
	{"registry", "ocilayout", "clustertest"},
	{"config", "cluster"},
	{"plugins", "smoke", "monitor"},
	{"pipeline", "project"},
	{"chart"},
	{"publish", "build", "deploy"},
}

func TestNoImportRunsUp(t *testing.T) {
	floorOf := map[string]int{}
	for i, floor := range floors {
		for _, folder := range floor {
			floorOf[folder] = i
		}
	}
	entries, err := os.ReadDir("../internal")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if _, ok := floorOf[entry.Name()]; !ok {
			t.Errorf("internal/%s is on no floor", entry.Name())
		}
	}
	if len(entries) != len(floorOf) || len(entries) > 15 {
		t.Errorf("internal/ has %d folders, the floors %d; at most 15", len(entries), len(floorOf))
	}
	room := func(path string) string {
		folder, _, _ := strings.Cut(strings.TrimPrefix(path, module+"internal/"), "/")
		return folder
	}
	seen := 0
	for _, line := range imports(t, "-f", `{{$p := .ImportPath}}{{range .Imports}}{{$p}}={{.}}{{"\n"}}{{end}}`, "./internal/...") {
		from, to, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(to, module+"internal/") || room(from) == room(to) {
			continue
		}
		seen++
		if floorOf[room(to)] >= floorOf[room(from)] {
			t.Errorf("%s imports %s, which is not below it", from, to)
		}
	}
	if seen < 50 {
		t.Errorf("only %d imports seen", seen)
	}
}

// docs/architecture.md names every folder that has Go code, and each file and
// folder that it names is there.
func TestArchitectureIsCurrent(t *testing.T) {
	text, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, match := range regexp.MustCompile("`((?:cmd|pkg|internal|test|bench|scripts|schemas|examples|docs|plugin-index)(?:/[A-Za-z0-9_.-]+)*)/?`").FindAllStringSubmatch(string(text), -1) {
		named[match[1]] = true
		if _, err := os.Stat(filepath.Join("..", match[1])); err != nil {
			t.Errorf("docs/architecture.md names %s: %v", match[1], err)
		}
	}
	for _, root := range []string{"cmd", "pkg", "internal"} {
		err := filepath.WalkDir(filepath.Join("..", root), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.IsDir() {
				return err
			}
			if entry.Name() == "testdata" {
				return fs.SkipDir
			}
			files, err := filepath.Glob(filepath.Join(path, "*.go"))
			folder := strings.TrimPrefix(filepath.ToSlash(path), "../")
			if len(files) > 0 && !named[folder] {
				t.Errorf("docs/architecture.md does not name %s", folder)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(named) < 60 || !slices.Contains(floors[0], "cli") {
		t.Errorf("only %d folders named", len(named))
	}
}
