package buildable

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/pkg/protocol"
)

// module is two packages, one of which embeds a folder and has files that are
// not compiled by default, and a module on disk that it is replaced with.
var module = map[string]string{
	"go.mod":                "module example.com/demo\n\ngo 1.24\n\nrequire (\n\texample.com/near v0.0.0\n\texample.com/unused v0.0.0\n)\n\nreplace example.com/near => ./near\n\nreplace example.com/unused => ./unused\n",
	"cmd/demo/main.go":      "package main\n\nimport (\n\t\"embed\"\n\n\t\"example.com/demo/internal/say\"\n\t\"example.com/near\"\n)\n\n//go:embed text\nvar text embed.FS\n\nfunc main() { say.Hello(near.Name) }\n",
	"cmd/demo/text/a":       "A",
	"internal/say/say.go":   "package say\n\nfunc Hello(string) {}\n",
	"internal/say/extra.go": "//go:build extra\n\npackage say\n",
	"near/go.mod":           "module example.com/near\n\ngo 1.24\n",
	"unused/go.mod":         "module example.com/unused\n\ngo 1.24\n",
	"near/near.go":          "package near\n\nconst Name = \"near\"\n",
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func newGo(dir, memory string) *golang {
	source := protocol.Buildable{Type: "go", Main: "./cmd/demo"}
	return &golang{
		source: source, root: dir,
		options: Options{
			App:    protocol.AppSpec{Metadata: protocol.Metadata{Name: "demo"}, ProjectRoot: dir, Image: protocol.ImageSource{Buildable: &source}},
			Memory: memory, Platforms: []ocispec.Platform{{OS: "linux", Architecture: "amd64"}}, Created: time.Unix(0, 0),
		},
	}
}

// inputDigest is the digest of all that a source is made from.
func inputDigest(ctx context.Context, s Source) (string, error) {
	c, items, err := s.Inputs(ctx)
	if err != nil {
		return "", err
	}
	return inputs.Digest(append(items, inputs.Item{Name: "Dockerfile", Value: string(c.Text)})), nil
}

func digestOf(t *testing.T, ctx context.Context, s Source) string {
	t.Helper()
	d, err := inputDigest(ctx, s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// settle waits until the times of what was just written are surely over.
func settle() { time.Sleep(60 * time.Millisecond) }

// TestInputDigestAfterChange proves that what is remembered never hides a
// change: after it the digest is the one that is found without any memory.
func TestInputDigestAfterChange(t *testing.T) {
	t.Setenv("GOFLAGS", "")
	edit := func(name, from, to string) func(*testing.T, string, *golang) {
		return func(t *testing.T, dir string, _ *golang) {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, map[string]string{name: strings.Replace(string(data), from, to, 1)})
		}
	}
	add := func(name, content string) func(*testing.T, string, *golang) {
		return func(t *testing.T, dir string, _ *golang) { write(t, dir, map[string]string{name: content}) }
	}
	tests := map[string]struct {
		change func(*testing.T, string, *golang)
		same   bool
	}{
		"nothing": {func(*testing.T, string, *golang) {}, true},
		"same size and the old time": {func(t *testing.T, dir string, _ *golang) {
			path := filepath.Join(dir, "internal/say/say.go")
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, map[string]string{"internal/say/say.go": "package say\n\nfunc Hello(strinG) {}\ntype strinG = string"[:info.Size()-1] + "\n"})
			if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		}, false},
		"a file is edited":                 {edit("cmd/demo/main.go", "main()", "main( )"), false},
		"a file is added":                  {add("internal/say/more.go", "package say\n"), false},
		"a test is added":                  {add("internal/say/say_test.go", "package say\n"), true},
		"a file is removed":                {func(t *testing.T, dir string, _ *golang) { remove(t, dir, "internal/say/extra.go") }, true},
		"an ignored file is no longer":     {edit("internal/say/extra.go", "extra", "!extra"), false},
		"an ignored file is edited":        {edit("internal/say/extra.go", "say\n", "say\n//\n"), true},
		"an embedded file is edited":       {edit("cmd/demo/text/a", "A", "B"), false},
		"an embedded file is added":        {add("cmd/demo/text/b", "B"), false},
		"an embedded file in a new folder": {add("cmd/demo/text/c/d", "D"), false},
		"go.mod is edited":                 {edit("go.mod", "go 1.24", "go 1.25"), false},
		"a replacement is edited":          {edit("near/near.go", "\"near\"", "\"far\""), false},
		"the go.mod of a replacement":      {edit("near/go.mod", "go 1.24", "go 1.23"), false},
		"one that no package is from":      {edit("unused/go.mod", "go 1.24", "go 1.23"), false},
		"a go.mod cuts a package off":      {add("internal/go.mod", "module example.com/other\n"), false},
		"a go.work appears above":          {add("../go.work", "go 1.25\n\nuse ./demo\n"), false},
		"a profile is added":               {add("cmd/demo/default.pgo", "profile"), false},
		"a build tag is set":               {func(_ *testing.T, _ string, g *golang) { g.source.Tags = []string{"extra"} }, false},
		"a linker flag is set": {func(_ *testing.T, _ string, g *golang) {
			g.options.App.Image.Buildable.LDFlags = []string{"-X main.x=y"}
		}, false},
		"another platform":                   {func(_ *testing.T, _ string, g *golang) { g.options.Platforms[0].Variant = "v3" }, false},
		"another time":                       {func(_ *testing.T, _ string, g *golang) { g.options.Created = time.Unix(1, 0) }, false},
		"GOEXPERIMENT is set":                {func(t *testing.T, _ string, _ *golang) { t.Setenv("GOEXPERIMENT", "nogreenteagc") }, false},
		"GOFLAGS is set":                     {func(t *testing.T, _ string, _ *golang) { t.Setenv("GOFLAGS", "-tags=extra") }, false},
		"GOFLAGS that change no program":     {func(t *testing.T, _ string, _ *golang) { t.Setenv("GOFLAGS", "-v -p=1 -ldflags=-w -trimpath=false") }, true},
		"GOFLAGS by go env -w":               {func(t *testing.T, _ string, _ *golang) { goEnvFile(t, "GOFLAGS=-gcflags=-l") }, false},
		"another go.mod by GOFLAGS":          {func(t *testing.T, dir string, _ *golang) { otherModule(t, dir) }, false},
		"another toolchain":                  {func(t *testing.T, _ string, _ *golang) { otherToolchain(t) }, false},
		"something that is not compiled":     {add("README.md", "hello"), true},
		"a package that nothing imports":     {add("internal/other/other.go", "package other\n"), true},
		"a file of another operating system": {add("internal/say/say_windows.go", "package say\n"), true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir, memory := filepath.Join(t.TempDir(), "demo"), t.TempDir()
			write(t, dir, module)
			settle()
			before := digestOf(t, t.Context(), newGo(dir, memory))
			g := newGo(dir, memory)
			test.change(t, dir, g)
			// A survey that meets a change in progress remembers nothing, which
			// is not what this test is about.
			settle()
			after, err := inputDigest(t.Context(), g)
			fresh := newGo(dir, t.TempDir())
			fresh.source, fresh.options = g.source, g.options
			fresh.options.Memory = t.TempDir()
			truth, err2 := inputDigest(t.Context(), fresh)
			if fmt.Sprint(err) != fmt.Sprint(err2) || after != truth {
				t.Errorf("with memory %s, %v; without %s, %v", after, err, truth, err2)
			}
			if same := before == after; same != test.same {
				t.Errorf("same digest: %t, want %t", same, test.same)
			}
		})
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// otherToolchain puts a go command on PATH that tells another version.
func otherToolchain(t *testing.T) {
	t.Helper()
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nif [ \"$1\" = env ]; then %s \"$@\" | sed 's/\"go1[^\"]*\"/\"go9.9\"/'; else exec %s \"$@\"; fi\n", real, real)
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// TestNothingStartsWhenNothingChanged uses that no process starts when the
// context is cancelled.
func TestNothingStartsWhenNothingChanged(t *testing.T) {
	dir, memory := filepath.Join(t.TempDir(), "demo"), t.TempDir()
	write(t, dir, module)
	settle()
	want := digestOf(t, t.Context(), newGo(dir, memory))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if got := digestOf(t, cancelled, newGo(dir, memory)); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	write(t, dir, map[string]string{"internal/say/say.go": "package say\n\nfunc Hello(string) { }\n"})
	if _, err := inputDigest(cancelled, newGo(dir, memory)); err == nil {
		t.Error("after a change no process was needed")
	}
}

// TestChangeDuringSurvey proves that nothing is remembered of files that were
// still being written when the go command looked at them.
func TestChangeDuringSurvey(t *testing.T) {
	dir, memory := filepath.Join(t.TempDir(), "demo"), t.TempDir()
	write(t, dir, module)
	settle()
	if err := os.Chtimes(filepath.Join(dir, "cmd/demo/main.go"), time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	digestOf(t, t.Context(), newGo(dir, memory))
	traces, err := filepath.Glob(filepath.Join(memory, "*.trace"))
	if err != nil {
		t.Fatal(err)
	}
	if len(traces) > 0 {
		t.Errorf("remembered %v", traces)
	}
}

func TestProgramName(t *testing.T) {
	for path, want := range map[string]string{
		"example.com/fleet/cmd/operator": "operator", "example.com/fleet": "fleet", "example.com/fleet/v2": "fleet", "v2": "v2", "tool": "tool",
	} {
		if got := programName(path); got != want {
			t.Errorf("programName(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestEnvironmentOfPlatforms(t *testing.T) {
	for platform, want := range map[string]string{
		"amd64/": "GOAMD64=v1", "amd64/v3": "GOAMD64=v3", "arm/v6": "GOARM=6", "arm/": "GOARM=7", "arm64/v8": "GOARM64=v8.0",
	} {
		arch, variant, _ := strings.Cut(platform, "/")
		values := map[string]string{}
		for _, entry := range environment(ocispec.Platform{OS: "linux", Architecture: arch, Variant: variant}) {
			name, value, _ := strings.Cut(entry, "=")
			values[name] = value
		}
		name, value, _ := strings.Cut(want, "=")
		if values[name] != value {
			t.Errorf("%s: %s=%s, want %s", platform, name, values[name], value)
		}
	}
}

// goEnvFile is the file of go env -w. GOFLAGS of the environment is unset.
func goEnvFile(t *testing.T, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOENV", path)
	t.Setenv("GOFLAGS", "")
}

// otherModule has GOFLAGS name a go.mod of a newer language.
func otherModule(t *testing.T, dir string) {
	t.Helper()
	write(t, dir, map[string]string{"other.mod": strings.Replace(module["go.mod"], "go 1.24", "go 1.25", 1)})
	t.Setenv("GOFLAGS", "-modfile=other.mod")
}

// TestFlagsThatHideSources refuses what would compile something else than what is seen.
func TestFlagsThatHideSources(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	write(t, dir, module)
	for _, flag := range []string{"-toolexec=/bin/env", "-overlay=x.json", "-n"} {
		t.Setenv("GOFLAGS", flag)
		_, err := inputDigest(t.Context(), newGo(dir, t.TempDir()))
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(fmt.Sprint(err), "GOFLAGS has "+strings.Split(flag, "=")[0]) {
			t.Errorf("%s: status %d, %v", flag, protocol.ExitCode(err), err)
		}
	}
}
