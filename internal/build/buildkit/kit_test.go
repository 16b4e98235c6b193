package buildkit

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func program(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	switch {
	case path != "":
	case os.Getenv("CI") != "":
		t.Fatalf("needs the test cluster: %s is not set", variable)
	default:
		t.Skipf("needs the test cluster: %s is not set", variable)
	}
	return path
}

// daemon is a buildkitd of the test alone.
type daemon struct {
	address string
	cmd     *exec.Cmd
	ended   chan struct{}
}

// start starts a buildkitd on a unix socket; more are flags such as those of a
// tcp address, which comes first in the answer's place.
func start(t *testing.T, address string, more ...string) *daemon {
	t.Helper()
	binary := program(t, "HARMONY_TEST_BUILDKITD")
	// A short path: a socket's has at most 107 bytes.
	dir, err := os.MkdirTemp("", "bk")
	if err != nil {
		t.Fatal(err)
	}
	if address == "" {
		address = "unix://" + filepath.Join(dir, "sock")
	}
	args := append([]string{"--addr", address, "--root", filepath.Join(dir, "root"), "--oci-worker-binary", "runc", "--containerd-worker=false"}, more...)
	d := &daemon{address: address, cmd: exec.Command(binary, args...), ended: make(chan struct{})}
	var log bytes.Buffer
	d.cmd.Stdout, d.cmd.Stderr = &log, &log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = d.cmd.Wait() // it is always ended by a signal
		close(d.ended)
	}()
	t.Cleanup(func() {
		_ = d.cmd.Process.Signal(syscall.SIGTERM) // may have ended
		select {
		case <-d.ended:
		case <-time.After(10 * time.Second):
			d.kill()
		}
		if t.Failed() {
			t.Logf("buildkitd: %s", log.String())
		}
		unmountBelow(dir)
		removeCgroups(dir)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return d
}

// unmountBelow takes away what a killed daemon left mounted.
func unmountBelow(dir string) {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return
	}
	for line := range strings.SplitSeq(string(data), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir) {
			_ = syscall.Unmount(fields[1], syscall.MNT_DETACH)
		}
	}
}

// removeCgroups takes away those of the steps that a killed daemon was at, which
// it has called by the folders of its executor.
func removeCgroups(dir string) {
	steps, err := filepath.Glob(filepath.Join(dir, "root/*/executor/*"))
	if err != nil {
		return
	}
	for _, step := range steps {
		for _, pattern := range []string{"/sys/fs/cgroup/*/buildkit/", "/sys/fs/cgroup/buildkit/"} {
			groups, _ := filepath.Glob(pattern + filepath.Base(step)) // the pattern is a good one
			for _, group := range groups {
				_ = os.Remove(group) // its last process ends with the daemon
			}
		}
	}
}

// kill ends it and what runs in it, as the loss of a machine does.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	<-d.ended
}

// ready waits until it answers.
func (d *daemon) ready(t *testing.T, tls tlsFiles) *daemon {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		c, err := dial(t.Context(), d.address, tls)
		if err == nil {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			return d
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		select {
		case <-d.ended:
			t.Fatalf("buildkitd ended: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func startReady(t *testing.T) *daemon { t.Helper(); return start(t, "").ready(t, tlsFiles{}) }

// freeAddress is a tcp address that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "tcp://" + l.Addr().String()
}

// pushBusybox pushes a base image with a static busybox as its shell.
func pushBusybox(t *testing.T) string {
	t.Helper()
	return pushShell(t, "busybox", v1.Config{Env: []string{"PATH=/bin"}})
}

func pushShell(t *testing.T, repository string, run v1.Config) string {
	t.Helper()
	registry := clustertest.Registry(t)
	shell, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skipf("needs the test cluster: %v", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []*tar.Header{
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777},
		{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "bin/busybox", Mode: 0o755, Size: int64(len(shell))},
	} {
		must(t, w.WriteHeader(h))
		if h.Size > 0 {
			if _, err := w.Write(shell); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, applet := range []string{"sh", "cat", "echo", "sleep", "ls", "test", "mkdir", "grep", "seq", "cp", "wc", "touch", "date", "env"} {
		must(t, w.WriteHeader(&tar.Header{Name: "bin/" + applet, Typeflag: tar.TypeSymlink, Linkname: "busybox"}))
	}
	must(t, w.Close())
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	must(t, err)
	image, err := mutate.AppendLayers(empty.Image, layer)
	must(t, err)
	config, err := image.ConfigFile()
	must(t, err)
	image, err = mutate.ConfigFile(image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: config.RootFS, Config: run})
	must(t, err)
	ref, err := name.NewTag(registry+"/buildkit-test/"+repository+":1", name.Insecure)
	must(t, err)
	must(t, remote.Write(ref, image, remote.WithContext(t.Context())))
	return ref.String()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// project is an app with a Dockerfile, and the events of its builds.
type project struct {
	t     *testing.T
	app   protocol.AppSpec
	env   capability.Environment
	flags build.Flags

	mu     sync.Mutex
	events []string
}

// newProject writes the files, and says where settings are.
func newProject(t *testing.T, settings map[string]any, files map[string]string) *project {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	p := &project{t: t}
	p.app = protocol.AppSpec{
		Metadata: protocol.Metadata{Name: "app", Version: "1.0.0"}, ProjectRoot: t.TempDir(),
		Image: protocol.ImageSource{Dockerfile: &protocol.Dockerfile{}, Platforms: []string{"linux/amd64"}},
	}
	p.env = capability.Environment{
		Topology: protocol.Topology{Metadata: protocol.Metadata{Name: "test"}},
		Provider: protocol.Provider{Adapter: "buildkit", Settings: settings},
		Cache:    t.TempDir(), Progress: p.progress,
	}
	p.write(files)
	return p
}

func (p *project) write(files map[string]string) {
	p.t.Helper()
	for path, content := range files {
		path = filepath.Join(p.app.ProjectRoot, path)
		must(p.t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(p.t, os.WriteFile(path, []byte(content), 0o644))
	}
}

func (p *project) progress(e protocol.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, fmt.Sprintf("%s %s: %s", e.Name, e.Phase, e.Message))
}

// told is every event, in lines.
func (p *project) told() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.events, "\n")
}

func (p *project) build(ctx context.Context) (protocol.ImageRef, error) {
	builder, err := New(&p.flags)(ctx, p.env)
	if err != nil {
		return protocol.ImageRef{}, err
	}
	return builder.BuildImage(ctx, p.app)
}

func (p *project) mustBuild() protocol.ImageRef {
	p.t.Helper()
	ref, err := p.build(p.t.Context())
	if err != nil {
		p.t.Fatalf("%v\n%s", err, p.told())
	}
	return ref
}

// withRegistry has the topology's registry be that of the test cluster.
func (p *project) withRegistry() *project {
	p.t.Helper()
	p.env.Topology.OCIRegistry = &protocol.Provider{Adapter: "oci", URL: clustertest.Registry(p.t) + "/buildkit-test"}
	return p
}
