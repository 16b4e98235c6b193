package docker

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/registry/daemon"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// server is a daemon for a test.
type server struct{ host, kind string }

// eachDaemon runs the test with BuildKit, with the classic builder of dockerd
// and with podman, where there is one.
func eachDaemon(t *testing.T, test func(t *testing.T, s server)) {
	t.Run("buildkit", func(t *testing.T) { test(t, server{clustertest.Docker(t), "buildkit"}) })
	t.Run("classic", func(t *testing.T) { test(t, server{classicDaemon(t), "classic"}) })
	t.Run("podman", func(t *testing.T) { test(t, server{podman(t), "podman"}) })
}

// classicDaemon is dockerd without its BuildKit.
func classicDaemon(t *testing.T) string {
	t.Helper()
	socket, err := url.Parse(clustertest.Docker(t))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "docker"})
	proxy.Transport = unixTransport(socket.Path)
	proxy.FlushInterval = -1
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	handler := http.NewServeMux()
	handler.Handle("/", proxy)
	handler.Handle("/grpc", http.NotFoundHandler())
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return "tcp://" + server.Listener.Addr().String()
}

func unixTransport(path string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
}

// podman starts podman's service with storage of its own.
func podman(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("podman")
	if err != nil || os.Getuid() != 0 {
		t.Skip("podman is not installed, or the user is not root")
	}
	clustertest.Docker(t) // only where real daemons are asked for
	// Its path must be short, for podman.
	dir, err := os.MkdirTemp("", "podman")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	config := "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n[containers]\nnetns = \"host\"\n"
	put(t, dir, map[string]string{"containers.conf": config})
	socket := filepath.Join(dir, "podman.sock")
	command := exec.Command(program, "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--storage-driver", "vfs",
		"system", "service", "--time=0", "unix://"+socket)
	command.Env = append(os.Environ(), "CONTAINERS_CONF="+filepath.Join(dir, "containers.conf"), "TMPDIR="+dir)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	deadline := time.Now().Add(20 * time.Second)
	for {
		if _, err := os.Stat(socket); err == nil {
			return "unix://" + socket
		}
		if time.Now().After(deadline) {
			t.Fatalf("podman does not listen: %s", output.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// project is a folder with busybox and a Dockerfile that begins with it.
func project(t *testing.T, instructions string, files map[string]string) protocol.AppSpec {
	t.Helper()
	dir := t.TempDir()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skip("busybox-static is not installed")
	}
	put(t, dir, files)
	put(t, dir, map[string]string{"Dockerfile": "FROM scratch\nCOPY busybox /bin/busybox\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\n" + instructions})
	if err := os.WriteFile(filepath.Join(dir, "busybox"), busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	return protocol.AppSpec{
		Metadata: protocol.Metadata{Name: "docker-test", Version: "1.4.0"}, ProjectRoot: dir,
		Image: protocol.ImageSource{
			Repository: fmt.Sprintf("test/docker-%d", rand.Uint64()),
			Dockerfile: &protocol.Dockerfile{Context: "."},
		},
	}
}

type events struct {
	mu  sync.Mutex
	all []protocol.Event
}

func (e *events) add(event protocol.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

func (e *events) text() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var b strings.Builder
	for _, event := range e.all {
		b.WriteString(event.Message + "\n")
	}
	return b.String()
}

// bench is an adapter under test.
type bench struct {
	capability.ContainerBuilder
	seen   *events
	daemon *daemon.Client
}

// open makes the adapter for a daemon. What the app left there is removed.
func open(t *testing.T, s server, app protocol.AppSpec, flags build.Flags) bench {
	t.Helper()
	t.Setenv("DOCKER_HOST", s.host)
	b := bench{seen: &events{}}
	env := capability.Environment{Progress: b.seen.add, Cache: t.TempDir()}
	var err error
	if b.ContainerBuilder, err = New(&flags)(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if b.daemon, err = daemon.Connect(t.Context(), os.Getenv); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		tags, err := b.daemon.Tags(context.Background(), "harmony/"+app.Image.Repository)
		if err != nil {
			t.Error(err)
		}
		for _, tag := range tags {
			if err := b.daemon.Untag(context.Background(), tag); err != nil {
				t.Error(err)
			}
		}
		b.daemon.Close()
	})
	return b
}

// named lists what the app has in the daemon.
func (b bench) named(t *testing.T, app protocol.AppSpec) []string {
	t.Helper()
	tags, err := b.daemon.Tags(t.Context(), "harmony/"+app.Image.Repository)
	if err != nil {
		t.Fatal(err)
	}
	return tags
}

// files reads the files of an image of the daemon out of its layers.
func (b bench) files(t *testing.T, id string) map[string]string {
	t.Helper()
	stream, err := b.daemon.Save(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	all := map[string]string{}
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(header.Name, ".json") || strings.HasSuffix(header.Name, "/json") {
			all["json"] += string(data)
			continue
		}
		if z, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
			if data, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		layer := tar.NewReader(bytes.NewReader(data))
		for {
			entry, err := layer.Next()
			if err != nil {
				break // no layer, or its end
			}
			content, err := io.ReadAll(layer)
			if err != nil {
				t.Fatal(err)
			}
			all[strings.TrimSuffix(entry.Name, "/")] = string(content)
		}
	}
}
