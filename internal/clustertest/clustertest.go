// Package clustertest gives tests a real cluster and registry: those that the
// environment names. A test without them is skipped, but fails in CI.
package clustertest

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Kubeconfig is the path of the kubeconfig of the test cluster.
func Kubeconfig(t testing.TB) string {
	t.Helper()
	return variable(t, "HARMONY_TEST_KUBECONFIG")
}

// Registry is the host and port of a registry that the test cluster pulls from;
// both it and the test reach it by plain http.
func Registry(t testing.TB) string {
	t.Helper()
	return variable(t, "HARMONY_TEST_REGISTRY")
}

// Docker is the DOCKER_HOST of the test cluster's dockerd.
func Docker(t testing.TB) string {
	t.Helper()
	return variable(t, "HARMONY_TEST_DOCKER")
}

// BuildKit are the paths of buildkitd and buildctl, static programs.
func BuildKit(t testing.TB) (buildkitd, buildctl string) {
	t.Helper()
	return variable(t, "HARMONY_TEST_BUILDKITD"), variable(t, "HARMONY_TEST_BUILDCTL")
}

// Containerd is the socket of the container runtime of the test cluster's node,
// beside the kubeconfig of the kit's own cluster.
func Containerd(t testing.TB) string {
	t.Helper()
	socket := filepath.Join(filepath.Dir(Kubeconfig(t)), "containerd.sock")
	if _, err := os.Stat(socket); err != nil {
		t.Skipf("needs the test cluster of the kit: %v", err)
	}
	return socket
}

func variable(t testing.TB, name string) string {
	t.Helper()
	value := os.Getenv(name)
	switch {
	case value != "":
	case os.Getenv("CI") != "":
		t.Fatalf("needs the test cluster: %s is not set", name)
	default:
		t.Skipf("needs the test cluster: %s is not set", name)
	}
	return value
}

// Cluster is a cluster for tests.
type Cluster struct {
	// Kubeconfig is the path of its kubeconfig.
	Kubeconfig string
	Rest       *rest.Config
	Client     kubernetes.Interface
}

// Config is the cluster that the environment names.
func Config(t testing.TB) Cluster {
	t.Helper()
	path := Kubeconfig(t)
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS, config.Burst = -1, -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return Cluster{Kubeconfig: path, Rest: config, Client: client}
}

// NamespaceName is a name for a namespace of the test alone, which need not
// exist. It is deleted at the end of the test.
func (c Cluster) NamespaceName(t testing.TB) string {
	t.Helper()
	label := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(t.Name()))
	name := strings.Trim(label[:min(len(label), 40)], "-") + time.Now().Format("-150405.000000")
	name = strings.ReplaceAll(name, ".", "-")
	c.DeleteNamespace(t, name)
	return name
}

// DeleteNamespace deletes a namespace at the end of the test, if it exists then.
func (c Cluster) DeleteNamespace(t testing.TB, name string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		options := metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}
		err := c.Client.CoreV1().Namespaces().Delete(ctx, name, options)
		if err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("delete namespace %s: %v", name, err)
		}
	})
}

// Namespace makes a namespace of the test alone. It is deleted at the end.
func (c Cluster) Namespace(t testing.TB) string {
	t.Helper()
	name := c.NamespaceName(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := c.Client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return name
}

// Gate is a TCP proxy to the cluster's API server that can be shut, to play an
// outage of the server for one client.
type Gate struct {
	// URL is what a client calls instead of the server's own, and ServerName the
	// name in the server's certificate.
	URL, ServerName string

	listener net.Listener
	server   string

	mu    sync.Mutex
	shut  bool
	conns []net.Conn
}

// Gate opens a gate. It is closed at the end of the test.
func (c Cluster) Gate(t testing.TB) *Gate {
	t.Helper()
	server, err := url.Parse(c.Rest.Host)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{
		URL: "https://" + listener.Addr().String(), ServerName: server.Hostname(),
		listener: listener, server: server.Host,
	}
	t.Cleanup(func() {
		listener.Close()
		g.Shut()
	})
	go g.serve()
	return g
}

// Shut cuts what goes through the gate, and lets nothing more through.
func (g *Gate) Shut() { g.set(true) }

// Open lets connections through again.
func (g *Gate) Open() { g.set(false) }

func (g *Gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	for _, c := range g.conns {
		c.Close()
	}
	g.conns = nil
}

func (g *Gate) serve() {
	for {
		client, err := g.listener.Accept()
		if err != nil {
			return
		}
		go g.join(client)
	}
}

func (g *Gate) join(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", g.server)
	if err != nil {
		return
	}
	defer server.Close()
	if !g.admit(client, server) {
		return
	}
	go io.Copy(server, client)
	io.Copy(client, server)
}

func (g *Gate) admit(conns ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.shut {
		g.conns = append(g.conns, conns...)
	}
	return !g.shut
}

// Push makes an image of the program in the folder app and pushes it as
// repository:tag. The same tag gives the same digest, another one another. The
// program does what its environment says; see there.
func Push(t testing.TB, repository, tag string) protocol.ImageRef {
	t.Helper()
	registry := Registry(t)
	image, err := appImage(t, tag)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag(registry+"/"+repository+":"+tag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return protocol.ImageRef{
		Registry: registry, Repository: repository, Tag: tag, Digest: digest.String(),
		Location: protocol.InRegistry, Insecure: true,
	}
}

func appImage(t testing.TB, tag string) (v1.Image, error) {
	program, err := compile(t.Context(), t.TempDir())
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return layerOf(program) })
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, &v1.ConfigFile{
		OS: "linux", Architecture: runtime.GOARCH,
		Config: v1.Config{Entrypoint: []string{"/app"}, Env: []string{"VERSION=" + tag}, User: "65532"},
		RootFS: must(image.ConfigFile()).RootFS,
	})
}

// must is for what an image in memory cannot fail at.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// compile builds the program; the compiler's cache makes it quick.
func compile(ctx context.Context, folder string) ([]byte, error) {
	out := filepath.Join(folder, "app")
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "github.com/nationtech/harmony/internal/clustertest/app")
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if output, err := command.CombinedOutput(); err != nil {
		return nil, &exec.Error{Name: "go build: " + string(output), Err: err}
	}
	return os.ReadFile(out)
}

func layerOf(program []byte) (io.ReadCloser, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "app", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return io.NopCloser(&b), nil
}
