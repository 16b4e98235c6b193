package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// source is a small suite: a dispatcher, and one plugin with a manifest.
func source(t *testing.T) release {
	t.Helper()
	root := filepath.Join(t.TempDir(), "somewhere", strings.ReplaceAll(t.Name(), "/", "-"))
	const program = "package main\n\nimport \"example.com/suite/internal/plugins/suite\"\n\nfunc main() { println(suite.Version()) }\n"
	for path, text := range map[string]string{
		"go.mod":                          "module github.com/nationtech/harmony\n\ngo 1.26\n",
		"LICENSE":                         "Do as you like.\n",
		"internal/plugins/suite/suite.go": "package suite\n\nvar version string\n\nfunc Version() string { return version }\n",
		"cmd/harmony/main.go":             strings.ReplaceAll(program, "example.com/suite", "github.com/nationtech/harmony"),
		"cmd/harmony-foo/main.go":         strings.ReplaceAll(program, "example.com/suite", "github.com/nationtech/harmony"),
		"plugin-index/foo.yaml": `apiVersion: harmony.nationtech.io/v1
kind: Plugin
metadata:
  name: foo
  version: 1.2.3
spec:
  shortDescription: Foo
  platforms:
    - os: linux
      arch: amd64
      uri: https://example.com/old
      sha256: 0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b0a1b
      size: 1
  protocol:
    min: 1
    max: 1
`,
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return release{
		root: root, index: "plugin-index", url: "https://example.com/download", version: "1.2.3",
		commands: []string{"harmony", "harmony-foo"}, platforms: []platform{{runtime.GOOS, runtime.GOARCH}},
	}
}

func built(t *testing.T, r release) map[string]string {
	t.Helper()
	if err := r.build(context.Background()); err != nil {
		t.Fatal(err)
	}
	content := map[string]string{}
	err := filepath.WalkDir(r.folder(), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		content[strings.TrimPrefix(path, r.folder()+"/")] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// Two builds in two folders, of other environments, at other times, are the
// same byte for byte.
func TestBuildIsReproducible(t *testing.T) {
	first := built(t, source(t))
	t.Setenv("GOFLAGS", "-ldflags=-X=a.b=c")
	t.Setenv("GOAMD64", "v2")
	t.Setenv("TZ", "Asia/Tokyo")
	var second map[string]string
	t.Run("again", func(t *testing.T) { second = built(t, source(t)) })
	if len(first) != 5 || len(first) != len(second) {
		t.Errorf("files %v and %v", sortedKeys(first), sortedKeys(second))
	}
	for name, data := range first {
		if second[name] != data {
			t.Errorf("%s differs", name)
		}
	}
}

func TestArchiveHoldsTheBinary(t *testing.T) {
	r := source(t)
	content := built(t, r)
	f, err := gzip.NewReader(strings.NewReader(content[r.file("harmony-foo", r.platforms[0])]))
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(f)
	var names []string
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
		if header.Name != "harmony-foo" {
			continue
		}
		binary := filepath.Join(t.TempDir(), header.Name)
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(binary, data, os.FileMode(header.Mode)); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(binary).CombinedOutput(); err != nil || string(out) != "1.2.3\n" {
			t.Errorf("%q, %v", out, err)
		}
	}
	if strings.Join(names, " ") != "harmony-foo LICENSE" {
		t.Errorf("the archive holds %v", names)
	}
	for _, command := range r.commands {
		file := r.file(command, r.platforms[0])
		a, err := measure(filepath.Join(r.folder(), file))
		if err != nil || !strings.Contains(content["SHA256SUMS"], a.sha256+"  "+file+"\n") {
			t.Errorf("%s is of hash %s (%v), SHA256SUMS says\n%s", file, a.sha256, err, content["SHA256SUMS"])
		}
	}
}

// What was just built passes; what anybody changes after that does not.
func TestCheck(t *testing.T) {
	ctx := context.Background()
	r := source(t)
	if err := r.check(ctx); err == nil || !strings.Contains(err.Error(), "the platforms are") {
		t.Errorf("a manifest of other addresses: %v", err)
	}
	built(t, r)
	if err := r.takeManifests(); err != nil {
		t.Fatal(err)
	}
	if err := r.check(ctx); err != nil {
		t.Fatal(err)
	}
	manifest := r.path("harmony-foo")
	archive := filepath.Join(r.folder(), r.file("harmony-foo", r.platforms[0]))
	a, err := measure(archive)
	if err != nil {
		t.Fatal(err)
	}
	for why, test := range map[string]struct{ file, old, new, says string }{
		"another hash":     {manifest, a.sha256, strings.Repeat("ab", 32), "'make dist' has built"},
		"an older archive": {archive, "\x1f\x8b", "\x1f\x8c", "'make dist' has built"},
		"unknown field":    {manifest, "spec:", "spec:\n  sortDescription: x", "unknown field, did you mean shortDescription?"},
		"another order":    {manifest, "metadata:\n  name: foo\n  version: 1.2.3\n", "metadata:\n  version: 1.2.3\n  name: foo\n", "is not in the form"},
		"another address":  {manifest, "/v1.2.3/", "/v1.2.4/", "the platforms are"},
	} {
		whole, err := os.ReadFile(test.file)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(whole), test.old, test.new, 1)
		if changed == string(whole) {
			t.Fatalf("%s: nothing to change", why)
		}
		if err := os.WriteFile(test.file, []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := r.check(ctx); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v; want %q", why, err, test.says)
		}
		if err := os.WriteFile(test.file, whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	other := filepath.Join(filepath.Dir(manifest), "bar.yaml")
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, []byte(strings.Replace(string(text), "name: foo", "name: bar", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.check(ctx); err == nil || !strings.Contains(err.Error(), "harmony-bar is not a plugin of the suite") {
		t.Errorf("a manifest of nothing: %v", err)
	}
	if err := errors.Join(os.Remove(other), os.Remove(manifest)); err != nil {
		t.Fatal(err)
	}
	if err := r.check(ctx); err == nil || !strings.Contains(err.Error(), "contains no manifest") {
		t.Errorf("no manifest: %v", err)
	}
}

// A commit that is tagged as the version has the hashes of what it builds to.
func TestTaggedCommitIsBuilt(t *testing.T) {
	ctx := context.Background()
	r := source(t)
	built(t, r)
	if err := r.takeManifests(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Dir(r.folder())); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(r.root, "cmd/harmony-foo/main.go")
	if err := os.WriteFile(program, []byte("package main\n\nfunc main() { println(\"other\") }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "--all"}, {"-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message=x"}} {
		if out, err := exec.Command("git", append([]string{"-C", r.root}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if err := r.check(ctx); err != nil {
		t.Errorf("a commit between releases: %v", err)
	}
	if out, err := exec.Command("git", "-C", r.root, "tag", "v1.2.3").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := r.check(ctx); err == nil || !strings.Contains(err.Error(), "'make dist' has built") {
		t.Errorf("the release itself: %v", err)
	}
}

func TestUsage(t *testing.T) {
	t.Chdir("../..")
	for _, args := range [][]string{{}, {"bild"}, {"build", "-no"}} {
		if err := run(context.Background(), args); err == nil {
			t.Errorf("%q passes", args)
		}
	}
	if err := run(context.Background(), []string{"build", "-h"}); err != nil {
		t.Error(err)
	}
}
