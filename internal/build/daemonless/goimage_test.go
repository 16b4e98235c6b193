package daemonless

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/pkg/protocol"
)

func configOf(t *testing.T, image v1.Image) v1.Config {
	t.Helper()
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return file.Config
}

// refused wants an error of a status that has one of the texts, and a hint that has the
// other.
func refused(t *testing.T, app protocol.AppSpec, code int, text, hint string) {
	t.Helper()
	_, err := newBuilder(t).BuildImage(t.Context(), app)
	if protocol.ExitCode(err) != code || !strings.Contains(fmt.Sprint(err), text) || !strings.Contains(protocol.HintOf(err), hint) {
		t.Errorf("status %d, %v, hint %q; want status %d, %q and the hint %q", protocol.ExitCode(err), err, protocol.HintOf(err), code, text, hint)
	}
}

// TestGoImageAsSaid looks at everything that image.buildable says of the image.
func TestGoImageAsSaid(t *testing.T) {
	app := goProject(t)
	write(t, app.ProjectRoot, map[string]string{
		"ui/index.html": "<h1>ui</h1>", "ui/bin/run!": "#!/bin/sh\n", "ui/latest": "-> index.html", "ui/draft": "not for anybody", "ui/.dockerignore": "draft\n",
		"config file.yaml": "a: b\n", "tool!": "tool",
	})
	b := app.Image.Buildable
	b.Files = map[string]string{"ui": "/home/app/ui", "config file.yaml": "/etc/app/", "./tool": "/home/app/the tool"}
	b.WorkingDir, b.Entrypoint, b.User = "/home/app", "/home/app/greet", "1000:2000"
	b.Env = map[string]string{"GREETING": `say "hi" to \ $USER`, "EMPTY": ""}
	builder := newBuilder(t)
	first, image := mustBuild(t, builder, app)
	config := configOf(t, image)
	want := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/home/app", "EMPTY=", `GREETING=say "hi" to \ $USER`}
	if config.WorkingDir != "/home/app" || config.User != "1000:2000" || !slices.Equal(config.Entrypoint, []string{"/home/app/greet"}) || !slices.Equal(config.Env, want) {
		t.Errorf("configuration %+v", config)
	}
	files := list(t, image)
	for _, line := range []string{
		"- 0644 0:0 home/app/ui/index.html <h1>ui</h1>", "- 0755 0:0 home/app/ui/bin/run #!/bin/sh", "l 0777 0:0 home/app/ui/latest index.html",
		"- 0644 0:0 etc/app/config file.yaml a: b", "- 0755 0:0 home/app/the tool tool", "d 0755 0:0 home/app",
	} {
		if !strings.Contains(files, line+"\n") {
			t.Errorf("the image has no %q", line)
		}
	}
	if strings.Contains(files, "draft") {
		t.Error("the image has what .dockerignore names")
	}
	if got := run(t, fileOf(t, image, "home/app/greet")); got != "hello world none" {
		t.Errorf("the program says %q", got)
	}
	if again, _ := mustBuild(t, builder, app); !again.Unchanged || again.Digest != first.Digest {
		t.Errorf("built again: %+v", again)
	}
	write(t, app.ProjectRoot, map[string]string{"ui/index.html": "<h1>UI</h1>"})
	if changed, _ := mustBuild(t, builder, app); changed.InputDigest == first.InputDigest || changed.Digest == first.Digest {
		t.Error("a change of a file makes no other image")
	}
}

func TestGoFilesRefused(t *testing.T) {
	outside := t.TempDir()
	for files, want := range map[string]string{
		"nope=/x": "files.nope: nope is not in ", "empty=/x": "files.empty: the folder empty has no files", "out=/x": "files.out: ",
		"README.md=/app/hello": "/app/hello is the place of the program", "README.md=/app/hello/": "/app/hello/README.md is the place of the program",
	} {
		app := goProject(t)
		write(t, app.ProjectRoot, map[string]string{"empty/": "", "out": "-> " + outside})
		from, to, _ := strings.Cut(files, "=")
		app.Image.Buildable.Files = map[string]string{from: to}
		refused(t, app, protocol.ExitInvalid, want, "")
	}
}

// TestGoOnABase puts the program on an image of a registry.
func TestGoOnABase(t *testing.T) {
	host, _ := startRegistry(t)
	tag, err := name.NewTag(host + "/base:1")
	if err != nil {
		t.Fatal(err)
	}
	base := baseImage(t, runtime.GOARCH)
	if err := remote.Write(tag, base, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	sum, err := base.Digest()
	if err != nil {
		t.Fatal(err)
	}
	app := goProject(t)
	b := app.Image.Buildable
	b.Base = tag.String()
	refused(t, app, protocol.ExitInvalid, "image.buildable.base: "+b.Base+" has no digest", "write base: "+b.Base+"@"+sum.String())
	b.Base, b.User = tag.String()+"@"+sum.String(), "web"
	_, image := mustBuild(t, newBuilder(t), app)
	config := configOf(t, image)
	if config.User != "web" || !slices.Contains(config.Env, "PATH=/bin:/app") || len(config.Cmd) > 0 {
		t.Errorf("configuration %+v", config)
	}
	files := list(t, image)
	if !strings.Contains(files, "etc/arch "+runtime.GOARCH) || strings.Contains(files, "ca-certificates") {
		t.Error("not the files of the base, or more")
	}
	if got := run(t, fileOf(t, image, "app/hello")); got != "hello world none" {
		t.Errorf("the program says %q", got)
	}
	b.Base, b.User = "scratch", "web"
	refused(t, app, protocol.ExitInvalid, "image.buildable.user: an empty image has no web", "1000:1000")
}

// gitIn runs git apart from the user's settings.
func gitIn(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_COMMITTER_DATE=2024-05-06T07:08:09+02:00")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestGoVersionCommitDate(t *testing.T) {
	app := goProject(t)
	app.Version = "1.4.0"
	app.Image.Buildable.LDFlags = []string{"-X", "main.version={version}_{commit}_{date}"}
	refused(t, app, protocol.ExitInvalid, "image.buildable.ldflags: {commit}: git has no commit", "commit, or take {commit} out")
	gitIn(t, app.ProjectRoot, "init", "-q")
	gitIn(t, app.ProjectRoot, "add", ".")
	gitIn(t, app.ProjectRoot, "commit", "-q", "-m", "first")
	head := gitIn(t, app.ProjectRoot, "rev-parse", "HEAD")
	says := func(b builder) string {
		_, image := mustBuild(t, b, app)
		return run(t, fileOf(t, image, "app/hello"))
	}
	b := newBuilder(t)
	if got, want := says(b), "hello world 1.4.0_"+head+"_2024-05-06T05:08:09Z"; got != want {
		t.Errorf("the program says %q, want %q", got, want)
	}
	write(t, app.ProjectRoot, map[string]string{"README.md": "changed"})
	if got, want := says(b), "hello world 1.4.0_"+head+"-dirty_2024-05-06T05:08:09Z"; got != want {
		t.Errorf("changed, the program says %q, want %q", got, want)
	}
	t.Setenv("SOURCE_DATE_EPOCH", "86400")
	if got, want := says(newBuilder(t)), "hello world 1.4.0_"+head+"-dirty_1970-01-02T00:00:00Z"; got != want {
		t.Errorf("at another time, the program says %q, want %q", got, want)
	}
	app.Image.Buildable.LDFlags = []string{"-X main.version={comit}"}
	refused(t, app, protocol.ExitInvalid, "{comit} is unknown", "did you mean {commit}?")
	app.Image.Buildable.LDFlags = []string{"-X main.version={version}"}
	app.Version = ""
	refused(t, app, protocol.ExitInvalid, "{version} needs metadata.version", "--version")
}

// TestGoWorkspaceAndVendor builds with modules that no proxy has.
func TestGoWorkspaceAndVendor(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	main := map[string]string{
		"go.mod":  "module example.com/demo\n\ngo 1.24\n\nrequire example.com/near v1.0.0\n",
		"main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"example.com/near\"\n)\n\nfunc main() { fmt.Print(near.Name) }\n",
	}
	near := map[string]string{"go.mod": "module example.com/near\n\ngo 1.24\n", "near.go": "package near\n\nconst Name = \"near\"\n"}
	work := t.TempDir()
	write(t, filepath.Join(work, "demo"), main)
	write(t, filepath.Join(work, "near"), near)
	write(t, work, map[string]string{"go.work": "go 1.24\n\nuse ./demo\n\nuse ./near\n"})
	vendored := t.TempDir()
	write(t, vendored, main)
	write(t, filepath.Join(vendored, "vendor/example.com/near"), map[string]string{"near.go": near["near.go"]})
	write(t, vendored, map[string]string{"vendor/modules.txt": "# example.com/near v1.0.0\n## explicit; go 1.24\nexample.com/near\n"})
	for dir, test := range map[string]struct{ main, edited string }{
		work: {"demo", "near/near.go"}, vendored: {".", "vendor/example.com/near/near.go"},
	} {
		app := goAppAt(dir)
		app.Image.Buildable.Main = test.main
		b := newBuilder(t)
		for _, want := range []string{"near", "far"} {
			write(t, dir, map[string]string{test.edited: fmt.Sprintf("package near\n\nconst Name = %q\n", want)})
			_, image := mustBuild(t, b, app)
			if got := run(t, fileOf(t, image, "app/demo")); got != want {
				t.Errorf("%s: the program says %q, want %q", test.edited, got, want)
			}
		}
		if err := os.RemoveAll(filepath.Join(dir, filepath.Dir(test.edited))); err != nil {
			t.Fatal(err)
		}
		if _, err := b.BuildImage(t.Context(), app); err == nil {
			t.Errorf("%s: built without the module", test.edited)
		}
	}
}

// TestCGo compiles C: onto an empty image only what needs no libraries.
func TestCGo(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("needs gcc")
	}
	t.Setenv("CC", "gcc")
	app := goProject(t)
	write(t, app.ProjectRoot, map[string]string{
		"cmd/hello/main.go": "package main\n\n// int twice(int n);\nimport \"C\"\nimport \"fmt\"\n\nfunc main() { fmt.Print(C.twice(21)) }\n",
		"cmd/hello/twice.c": "int twice(int n) { return 2*n; }\n",
	})
	b := app.Image.Buildable
	b.CGO = true
	refused(t, app, protocol.ExitInvalid, "image.buildable.base: is required: ./cmd/hello is dynamically linked and needs libc.so.6", "-extldflags=-static")
	b.LDFlags = []string{"-linkmode=external", "-extldflags", "-static"}
	builder := newBuilder(t)
	first, image := mustBuild(t, builder, app)
	if got := run(t, fileOf(t, image, "app/hello")); got != "42" {
		t.Errorf("the program says %q", got)
	}
	other := goAppAt(filepath.Join(t.TempDir(), "other"))
	if err := os.CopyFS(other.ProjectRoot, os.DirFS(app.ProjectRoot)); err != nil {
		t.Fatal(err)
	}
	other.Image.Buildable = b
	if second, _ := mustBuild(t, newBuilder(t), other); second.Digest != first.Digest || second.InputDigest != first.InputDigest {
		t.Errorf("in another folder %s of %s, not %s of %s", second.Digest, second.InputDigest, first.Digest, first.InputDigest)
	}
	write(t, app.ProjectRoot, map[string]string{"cmd/hello/twice.c": "int twice(int n) { return 3*n; }\n"})
	if _, image = mustBuild(t, builder, app); run(t, fileOf(t, image, "app/hello")) != "63" {
		t.Error("a change of a C file makes no other program")
	}
	t.Setenv("CC", "no-such-compiler")
	refused(t, app, protocol.ExitUnsupported, "image.buildable.cgo: there is no C compiler no-such-compiler", "CC")
	app.Image.Platforms = []string{"linux/" + map[bool]string{true: "arm64", false: "amd64"}[runtime.GOARCH == "amd64"]}
	refused(t, app, protocol.ExitUnsupported, "image.buildable.cgo: the C compiler of this machine compiles for linux/"+runtime.GOARCH, "cross compiler")
	b.CGO = false
	refused(t, app, protocol.ExitInvalid, "ldflags: -linkmode=external is not allowed", "cgo is off")
}
