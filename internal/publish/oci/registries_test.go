package oci

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/sirupsen/logrus"

	"github.com/nationtech/harmony/internal/registry/server"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// eachRegistry runs the test against every registry at hand.
func eachRegistry(t *testing.T, test func(t *testing.T, host string)) {
	t.Run("harmony", func(t *testing.T) { test(t, harmonyRegistry(t)) })
	t.Run("go-containerregistry", func(t *testing.T) {
		test(t, serve(t, ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))))
	})
	t.Run("docker-registry", func(t *testing.T) { test(t, debianRegistry(t)) })
}

func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func harmonyRegistry(t *testing.T) string { return harmonyRegistryIn(t, t.TempDir()) }

// harmonyRegistryIn keeps what it stores in a folder.
func harmonyRegistryIn(t *testing.T, dir string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	handler, err := server.NewHandler(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, handler)
}

// debianRegistry is distribution 2.8, where it is installed.
func debianRegistry(t testing.TB) string { return debianRegistryIn(t, t.TempDir()) }

// debianRegistryIn keeps what it stores in a folder.
func debianRegistryIn(t testing.TB, dir string) string {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("docker-registry is not installed")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := listener.Addr().String()
	listener.Close()
	config := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\nlog: {level: error}\n", dir, host)
	file := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", file)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		if response, err := http.Get("http://" + host + "/v2/"); err == nil {
			response.Body.Close()
			return host
		}
		select {
		case <-ctx.Done():
			t.Fatal("docker-registry does not answer")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// fast retries in less time than in earnest.
var fast = patience{first: 5 * time.Millisecond, longest: 100 * time.Millisecond, total: 3 * time.Second}

// fastClient is a client that is soon at its end; through is what its requests
// go through, or nil.
func fastClient(t testing.TB, env capability.Environment, field string, through http.RoundTripper) *client {
	t.Helper()
	c, err := newClient(env, field, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.patience = fast
	if through != nil {
		c.guard.Inner = through
	}
	return c
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

func environment(url string) capability.Environment {
	return capability.Environment{
		Topology: protocol.Topology{Metadata: protocol.Metadata{Name: "ci"}},
		Provider: protocol.Provider{Adapter: "oci", URL: url},
		Progress: new(events).add,
	}
}

func newRegistry(t testing.TB, env capability.Environment) capability.OCIRegistry {
	t.Helper()
	return registryOf(fastClient(t, env, "spec.ociRegistry", nil))
}

func app(version string) protocol.AppSpec {
	return protocol.AppSpec{Metadata: protocol.Metadata{Name: "fleet-operator", Version: version}}
}

// built is a random image of three layers in an OCI layout, or an index of two.
func built(t *testing.T, index bool) protocol.ImageRef {
	t.Helper()
	path, err := layout.Write(t.TempDir(), empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	var digest v1.Hash
	if index {
		content, err := random.Index(4096, 3, 2)
		if err != nil {
			t.Fatal(err)
		}
		if err := path.AppendIndex(content); err != nil {
			t.Fatal(err)
		}
		digest, err = content.Digest()
		if err != nil {
			t.Fatal(err)
		}
	} else {
		content, err := random.Image(4096, 3)
		if err != nil {
			t.Fatal(err)
		}
		content = mutate.MediaType(content, "application/vnd.oci.image.manifest.v1+json")
		if err := path.AppendImage(content); err != nil {
			t.Fatal(err)
		}
		digest, err = content.Digest()
		if err != nil {
			t.Fatal(err)
		}
	}
	return protocol.ImageRef{
		Metadata: app("1.4.0").Metadata, Repository: "fleet/operator", Digest: digest.String(),
		Location: protocol.InLayout, Path: string(path), Platforms: []string{"linux/amd64"},
	}
}

// holds looks that the registry has all of what the reference names.
func holds(t *testing.T, reference, digest string) {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	got, err := remote.Get(ref)
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest.String() != digest {
		t.Fatalf("%s holds %s, want %s", reference, got.Digest, digest)
	}
	if got.MediaType.IsIndex() {
		index, err := got.ImageIndex()
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Index(index); err != nil {
			t.Error(err)
		}
		return
	}
	image, err := got.Image()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Error(err)
	}
}

func lacks(t *testing.T, reference string) {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	if d, err := remote.Head(ref); err == nil {
		t.Errorf("%s holds %s, want nothing", reference, d.Digest)
	}
}
