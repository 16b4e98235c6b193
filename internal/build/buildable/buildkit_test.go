package buildable

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// buildkit is a buildkitd of a test's own.
type buildkit struct{ address, buildctl, registry string }

func startBuildKit(t *testing.T) buildkit {
	t.Helper()
	daemon, buildctl := clustertest.BuildKit(t)
	b := buildkit{buildctl: buildctl, registry: clustertest.Registry(t)}
	dir, err := os.MkdirTemp("", "buildkit") // short: the path of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b.address = "unix://" + filepath.Join(dir, "socket")
	cmd := exec.Command(daemon, "--addr", b.address, "--root", filepath.Join(dir, "root"), "--oci-worker-binary", "runc", "--containerd-worker=false", "--oci-worker-net", "host")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Its exit status after SIGTERM is 1.
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("buildkitd: %v\n%s", err, log.String())
		}
		cmd.Wait()
	})
	deadline := time.Now().Add(20 * time.Second)
	for exec.Command(buildctl, "--addr", b.address, "debug", "workers").Run() != nil {
		if time.Now().After(deadline) {
			t.Fatalf("buildkitd does not answer:\n%s", log.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
	return b
}

// solve builds a context, pushes the image as NAME, and returns its reference
// and what buildctl said.
func (b buildkit) solve(t *testing.T, c dockerfile.Context, image string, platforms ...ocispec.Platform) (string, string) {
	t.Helper()
	ref := b.registry + "/buildable/" + image
	args := []string{
		"--addr", b.address, "build", "--progress", "plain", "--frontend", "dockerfile.v0",
		"--local", "context=" + c.Dir, "--local", "dockerfile=" + filepath.Dir(c.Dockerfile),
		"--opt", "filename=" + filepath.Base(c.Dockerfile), "--opt", "target=" + c.Target,
		"--output", "type=image,name=" + ref + ",push=true,registry.insecure=true,compression=uncompressed",
	}
	if len(platforms) > 0 {
		var names []string
		for _, p := range platforms {
			names = append(names, ocilayout.PlatformString(p))
		}
		args = append(args, "--opt", "platform="+strings.Join(names, ","))
	}
	for key, value := range c.Args {
		args = append(args, "--opt", "build-arg:"+key+"="+value)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, b.buildctl, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, c.Text)
	}
	return ref, string(out)
}

func (b buildkit) pull(t *testing.T, ref string, p ocispec.Platform) v1.Image {
	t.Helper()
	parsed, err := name.ParseReference(ref, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(parsed, remote.WithContext(t.Context()), remote.WithPlatform(v1.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// filesOf are the headers and contents of an image's files, by path.
func filesOf(t *testing.T, image v1.Image) (map[string]*tar.Header, map[string][]byte) {
	t.Helper()
	headers, contents := map[string]*tar.Header{}, map[string][]byte{}
	r := mutate.Extract(image)
	defer r.Close()
	for files := tar.NewReader(r); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return headers, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		path := strings.Trim(h.Name, "/")
		headers[path] = h
		if contents[path], err = io.ReadAll(files); err != nil {
			t.Fatal(err)
		}
	}
}

// runFile runs a program out of an image on this machine.
func runFile(t *testing.T, content []byte, env ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, content, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// TestGoImage builds the context of a Go program with BuildKit, and looks at
// everything that the image promises.
func TestGoImage(t *testing.T) {
	b := startBuildKit(t)
	o := optionsOf(t, protocol.Buildable{Type: "go", Main: "./cmd/hello", LDFlags: []string{"-X main.version=1.2"}}, map[string]string{
		"go.mod":            "module example.com/hello\n\ngo 1.24\n",
		"cmd/hello/main.go": "package main\n\nimport \"fmt\"\n\nvar version string\n\nfunc main() { fmt.Print(\"hello \", version) }\n",
	})
	o.Platforms = []ocispec.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm", Variant: "v7"}, {OS: "linux", Architecture: "arm64"}}
	ref, _ := b.solve(t, contextOf(t, o), "go:test", o.Platforms...)
	for _, p := range o.Platforms {
		image := b.pull(t, ref, p)
		headers, contents := filesOf(t, image)
		for path, want := range map[string]string{
			"app": "0755 0:0", "app/hello": "0755 0:0", "etc/passwd": "0644 0:0", "etc/group": "0644 0:0", "home/nonroot": "0700 65532:65532",
			"root": "0700 0:0", "tmp": "1777 0:0", "etc/ssl/certs/ca-certificates.crt": "0644 0:0",
		} {
			h := headers[path]
			if h == nil {
				t.Errorf("%s: no %s", ocilayout.PlatformString(p), path)
				continue
			}
			if got := fmt.Sprintf("%04o %d:%d", h.Mode&0o7777, h.Uid, h.Gid); got != want {
				t.Errorf("%s: %s, want %s", path, got, want)
			}
		}
		if string(contents["etc/passwd"]) != passwd || bytes.Count(contents["etc/ssl/certs/ca-certificates.crt"], []byte("BEGIN CERTIFICATE")) < 50 {
			t.Error("no users or certificates")
		}
		file, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if file.Config.User != "65532:65532" || file.Config.WorkingDir != "/" || !slices.Equal(file.Config.Entrypoint, []string{"/app/hello"}) ||
			!slices.Equal(file.Config.Env, []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/app"}) || len(file.Config.Cmd) > 0 {
			t.Errorf("configuration %+v", file.Config)
		}
		machine := map[string]byte{"amd64": 62, "arm": 40, "arm64": 183}[p.Architecture]
		if program := contents["app/hello"]; len(program) < 20 || program[18] != machine {
			t.Errorf("%s: a program of another machine", ocilayout.PlatformString(p))
		}
		if p.Architecture == here().Architecture {
			if got := runFile(t, contents["app/hello"]); got != "hello 1.2" {
				t.Errorf("the program says %q", got)
			}
		}
	}
}

// TestStaticImage builds a site with BuildKit, the server compiled on this
// machine.
func TestStaticImage(t *testing.T) {
	b := startBuildKit(t)
	checkStatic(t, b, staticOptions(t, map[string]any{"port": 9000}))
}

// TestStaticImageCompiles builds one with the server compiled in the Dockerfile,
// on a stand-in for the golang image that is made of this machine's Go.
func TestStaticImageCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the standard library of Go in an image")
	}
	b := startBuildKit(t)
	root, image := goRoot(t), newRootfs(t)
	for _, folder := range []string{"src", "pkg/tool", "pkg/include"} {
		image.tree(t, filepath.Join(root, folder), "/go/"+folder)
	}
	for _, file := range []string{"bin/go", "VERSION", "go.env"} {
		image.file(t, filepath.Join(root, file), "/go/"+file)
	}
	image.busybox(t)
	goImage, _ := b.solve(t, image.context(t, "ENV PATH=/go/bin:/bin GOROOT=/go HOME=/tmp GOCACHE=/tmp/cache"), "golang:standin")
	checkStatic(t, b, staticOptions(t, map[string]any{"port": 9000, "goImage": goImage}))
}

// checkStatic builds the site, which listens on port 9000, and looks at the
// image.
func checkStatic(t *testing.T, b buildkit, o Options) {
	t.Helper()
	ref, _ := b.solve(t, contextOf(t, o), "static:test")
	pulled := b.pull(t, ref, here())
	headers, contents := filesOf(t, pulled)
	config, err := pulled.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := config.Config.ExposedPorts["9000/tcp"]; !ok || config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{serverPath, "/app/site.json"}) {
		t.Errorf("configuration %+v", config.Config)
	}
	if string(contents["site/files/index.html"]) != "<h1>home</h1>" || headers["site/files/.env"] != nil {
		t.Error("other files than those of the site")
	}
	path := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(path, contents["app/staticserver"], 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path).CombinedOutput()
	if err == nil || string(out) != "staticserver: usage: staticserver INDEX\n" {
		t.Errorf("the server says %q, %v", out, err)
	}
}

func goRoot(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
