package daemonless

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/nationtech/harmony/pkg/protocol"
)

// program is a small module: a main package that embeds a file and uses
// another package.
var program = map[string]string{
	"go.mod":               "module example.com/demo\n\ngo 1.24\n",
	"cmd/hello/main.go":    "package main\n\nimport (\n\t_ \"embed\"\n\t\"fmt\"\n\n\t\"example.com/demo/internal/say\"\n)\n\n//go:embed text/name\nvar name string\n\nvar version = \"none\"\n\nfunc main() { fmt.Print(say.Hello(name), \" \", version) }\n",
	"cmd/hello/text/name":  "world",
	"internal/say/say.go":  "package say\n\nfunc Hello(name string) string { return \"hello \" + name + loud }\n",
	"internal/say/soft.go": "//go:build !loud\n\npackage say\n\nconst loud = \"\"\n",
	"internal/say/loud.go": "//go:build loud\n\npackage say\n\nconst loud = \"!\"\n",
	"README.md":            "not compiled",
}

func goProject(t *testing.T) protocol.AppSpec {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, program)
	return goAppAt(dir)
}

func goAppAt(dir string) protocol.AppSpec {
	app := appAt(dir)
	app.Image = protocol.ImageSource{Buildable: &protocol.Buildable{Type: "go", Main: "./cmd/hello"}, Platforms: []string{"linux/" + runtime.GOARCH}}
	return app
}

// fileOf writes a file of the image to a temporary one, executable.
func fileOf(t *testing.T, image v1.Image, name string) string {
	t.Helper()
	r := mutate.Extract(image)
	defer r.Close()
	for files := tar.NewReader(r); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			t.Fatalf("the image has no %s", name)
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name != name {
			continue
		}
		content, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), filepath.Base(name))
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
}

func run(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), path).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestGoProgramRuns(t *testing.T) {
	app := goProject(t)
	app.Image.Buildable.LDFlags = []string{"-X main.version=1.2"}
	app.Image.Buildable.Tags = []string{"loud"}
	ref, image := mustBuild(t, newBuilder(t), app)
	if got, want := run(t, fileOf(t, image, "app/hello")), "hello world! 1.2"; got != want {
		t.Errorf("the program says %q, want %q", got, want)
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(file.Config.Entrypoint, " "); got != "/app/hello" {
		t.Errorf("entrypoint %q", got)
	}
	if file.Config.User != "65532:65532" {
		t.Errorf("user %q is not nonroot", file.Config.User)
	}
	roots, err := os.ReadFile(fileOf(t, image, "etc/ssl/certs/ca-certificates.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(roots), "BEGIN CERTIFICATE"); n < 50 {
		t.Errorf("%d certificates", n)
	}
	want := protocol.ImageRef{Repository: "demo", Tag: "1.0.0_build", Location: protocol.InLayout}
	if ref.Repository != want.Repository || ref.Tag != want.Tag || ref.Location != want.Location || ref.Unchanged || ref.Planned || !filepath.IsAbs(ref.Path) {
		t.Errorf("reference %+v", ref)
	}
}

func TestGoSameDigestInAnotherFolder(t *testing.T) {
	first, _ := mustBuild(t, newBuilder(t), goProject(t))
	app := goProject(t)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	t.Setenv("GOFLAGS", os.Getenv("GOFLAGS")+" -v -p=1")
	t.Setenv("GOAMD64", "v2")
	second, _ := mustBuild(t, newBuilder(t), app)
	if first.Digest != second.Digest || first.InputDigest != second.InputDigest {
		t.Errorf("digests %s and %s, of inputs %s and %s", first.Digest, second.Digest, first.InputDigest, second.InputDigest)
	}
}

func TestGoSeveralPlatforms(t *testing.T) {
	app := goProject(t)
	app.Image.Platforms = []string{"linux/arm64", "linux/amd64"}
	ref, err := newBuilder(t).BuildImage(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(ref.Platforms, " "); got != "linux/amd64 linux/arm64" {
		t.Errorf("platforms %q", got)
	}
	index := indexOf(t, ref)
	digest, err := v1.NewHash(ref.Digest)
	if err != nil {
		t.Fatal(err)
	}
	nested, err := index.ImageIndex(digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := nested.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 2 || manifest.Manifests[1].Platform.Architecture != "arm64" {
		t.Errorf("index %+v", manifest.Manifests)
	}
}

func TestGoRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*protocol.AppSpec)
		code   int
		want   string
	}{
		"not a main package": {func(a *protocol.AppSpec) { a.Image.Buildable.Main = "./internal/say" }, 2, "./internal/say is package say, not a program"},
		"no such folder":     {func(a *protocol.AppSpec) { a.Image.Buildable.Main = "./nope" }, 2, "./nope is not a folder"},
		"unknown platform":   {func(a *protocol.AppSpec) { a.Image.Platforms = []string{"linux/ppc"} }, 2, "GOARCH pair linux/ppc"},
		"not linux":          {func(a *protocol.AppSpec) { a.Image.Platforms = []string{"plan9/amd64"} }, 3, "linux images only"},
		"another type":       {func(a *protocol.AppSpec) { a.Image.Buildable.Type = "rust" }, 3, `type "rust"`},
		"does not compile": {func(a *protocol.AppSpec) {
			write(t, a.ProjectRoot, map[string]string{"internal/say/say.go": "package say\n\nfunc Hello(string) string { return undefined }\n"})
		}, 1, "internal/say/say.go:3:36: undefined: undefined"},
	} {
		t.Run(name, func(t *testing.T) {
			app := goProject(t)
			test.change(&app)
			_, err := newBuilder(t).BuildImage(t.Context(), app)
			if err == nil || protocol.ExitCode(err) != test.code || strings.Count(err.Error(), test.want) != 1 {
				t.Errorf("status %d, %v; want status %d and %q once", protocol.ExitCode(err), err, test.code, test.want)
			}
		})
	}
	t.Run("no go command", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := newBuilder(t).BuildImage(t.Context(), goProject(t))
		if protocol.ExitCode(err) != protocol.ExitUnsupported || protocol.HintOf(err) == "" {
			t.Errorf("status %d, %v, hint %q", protocol.ExitCode(err), err, protocol.HintOf(err))
		}
	})
}
