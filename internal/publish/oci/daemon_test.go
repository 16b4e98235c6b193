package oci

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/registry/daemon"
	"github.com/nationtech/harmony/pkg/protocol"
)

// inDaemon builds an image of two layers of random bytes in the daemon, one of
// them of the given size, and returns how a build would tell of it.
func inDaemon(t *testing.T, size int) (protocol.ImageRef, *daemon.Client) {
	t.Helper()
	t.Setenv("DOCKER_HOST", clustertest.Docker(t))
	d, err := daemon.Connect(t.Context(), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	content := make([]byte, size)
	r := rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%032d", rand.Uint64()))))
	if _, err := r.Read(content); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, data := range map[string][]byte{"Dockerfile": []byte("FROM scratch\nCOPY a /\nCOPY b /{b\nCMD [\"/a\"]\n"), "a": content, "b": content[:min(size, 10)]} {
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}), write(w, data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tag := fmt.Sprintf("harmony-test/image:%d", rand.Uint64())
	id, err := d.Build(t.Context(), daemon.BuildOptions{Dockerfile: "Dockerfile"}, &b, func(daemon.Message) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Tag(t.Context(), id, tag); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Untag(context.Background(), tag); err != nil {
			t.Error(err)
		}
	})
	image, err := d.Image(t.Context(), tag)
	if err != nil {
		t.Fatal(err)
	}
	return protocol.ImageRef{
		Metadata: app("1.4.0").Metadata, Repository: "fleet/operator", ID: image.ID, Location: protocol.InDaemon,
		InputDigest: "sha256:" + strings.Repeat("ab", 32),
	}, d
}

func write(w io.Writer, data []byte) error {
	_, err := w.Write(data)
	return err
}

func TestPushImageOutOfDaemon(t *testing.T) {
	image, _ := inDaemon(t, 3<<20)
	eachRegistry(t, func(t *testing.T, host string) {
		writes := &recorder{}
		env := environment(host)
		env.Cache = t.TempDir()
		push := func(version string) protocol.ImageRef {
			t.Helper()
			c := fastClient(t, env, "spec.ociRegistry", writes)
			pushed, err := registryOf(c).PushImage(t.Context(), app(version), image)
			if err != nil {
				t.Fatal(err)
			}
			return pushed
		}
		dry := env
		dry.DryRun = true
		if planned, err := newRegistry(t, dry).PushImage(t.Context(), app("1.4.0"), image); err != nil || !planned.Planned || planned.Digest != "" {
			t.Errorf("dry run: %+v, %v", planned, err)
		}
		first := push("1.4.0")
		if first.Unchanged || first.Digest == "" || first.ID != "" || first.Location != protocol.InRegistry {
			t.Errorf("first is %+v", first)
		}
		holds(t, host+"/fleet/operator:1.4.0", first.Digest)
		holds(t, host+"/fleet/operator:"+protocol.InputTag(image.InputDigest), first.Digest)
		leavesNothing(t, env.Cache)

		for what, forget := range map[string]bool{"remembered": false, "forgotten": true} {
			if forget {
				env.Cache = t.TempDir()
			}
			writes.take()
			if again := push("1.4.0"); !again.Unchanged || again.Digest != first.Digest {
				t.Errorf("%s: again is %+v", what, again)
			}
			if did := writes.take(); len(did) != 0 {
				t.Errorf("%s: nothing new, but %q", what, did)
			}
		}
		dry.Cache = env.Cache
		if planned, err := newRegistry(t, dry).PushImage(t.Context(), app("1.4.0"), image); err != nil || !planned.Unchanged || planned.Digest != first.Digest {
			t.Errorf("dry run: %+v, %v", planned, err)
		}
		if other := push("1.4.1"); other.Unchanged || other.Digest != first.Digest {
			t.Errorf("other version is %+v", other)
		}
		// Nothing but the daemon knows: the same bytes come out of it.
		elsewhere := environment(harmonyRegistry(t))
		elsewhere.Cache = t.TempDir()
		pushed, err := newRegistry(t, elsewhere).PushImage(t.Context(), app("1.4.0"), image)
		if err != nil || pushed.Digest != first.Digest {
			t.Errorf("elsewhere: %s, %v; want %s", pushed.Digest, err, first.Digest)
		}
	})
}

// leavesNothing looks for files of layers.
func leavesNothing(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			t.Errorf("%s is left", e.Name())
		}
	}
}

// forward hands requests on to another registry.
func forward(host string) http.Handler {
	return httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
}

// recorder notes what would change a registry.
type recorder struct {
	mu  sync.Mutex
	did []string
}

func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet && request.Method != http.MethodHead {
		r.mu.Lock()
		r.did = append(r.did, request.Method+" "+request.URL.RequestURI())
		r.mu.Unlock()
	}
	return http.DefaultTransport.RoundTrip(request)
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	did := r.did
	r.did = nil
	return did
}

func TestPushImageOutOfDaemonRefuses(t *testing.T) {
	image, _ := inDaemon(t, 1<<20)
	host := harmonyRegistry(t)
	env := environment(host)
	env.Cache = t.TempDir()
	other := built(t, false)
	if _, err := newRegistry(t, env).PushImage(t.Context(), app("1.4.0"), other); err != nil {
		t.Fatal(err)
	}
	if _, err := newRegistry(t, env).PushImage(t.Context(), app("1.4.0"), image); err == nil || !strings.Contains(err.Error(), "published with another digest") {
		t.Errorf("another digest: %v", err)
	}
	holds(t, host+"/fleet/operator:1.4.0", other.Digest)
	gone := image
	gone.ID = "sha256:" + strings.Repeat("0", 64)
	if _, err := newRegistry(t, env).PushImage(t.Context(), app("1.4.1"), gone); err == nil || !strings.Contains(err.Error(), "is not in the daemon") || protocol.HintOf(err) == "" {
		t.Errorf("gone: %v", err)
	}
	leavesNothing(t, env.Cache)
	ctx, cancel := context.WithCancel(t.Context())
	empty := environment(harmonyRegistry(t))
	empty.Cache, empty.Progress = env.Cache, func(e protocol.Event) { cancel() }
	if _, err := newRegistry(t, empty).PushImage(ctx, app("1.4.2"), image); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	lacks(t, empty.Provider.URL+"/fleet/operator:1.4.2")
	leavesNothing(t, env.Cache)
	t.Setenv("DOCKER_HOST", "unix:///nowhere.sock")
	if _, err := newRegistry(t, environment(host)).PushImage(t.Context(), app("1.4.3"), gone); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "/nowhere.sock of DOCKER_HOST: no such socket") {
		t.Errorf("no daemon: %v", err)
	}
}

// The pointer of the input moves; where it may not, the release holds all the
// same.
func TestInputTag(t *testing.T) {
	var refuse bool
	inner := harmonyRegistry(t)
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if refuse && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/input-") {
			w.WriteHeader(http.StatusPreconditionFailed)
			_, _ = w.Write([]byte(`{"errors":[{"code":"PRECONDITION","message":"configured as immutable"}]}`))
			return
		}
		forward(inner).ServeHTTP(w, r)
	}))
	first, second, third := built(t, false), built(t, false), built(t, true)
	input := "sha256:" + strings.Repeat("cd", 32)
	first.InputDigest, second.InputDigest, third.InputDigest = input, input, input
	pointer := host + "/fleet/operator:" + protocol.InputTag(input)
	env := environment(host)
	for version, image := range map[string]protocol.ImageRef{"1.4.0": first, "1.4.1": second} {
		if _, err := newRegistry(t, env).PushImage(t.Context(), app(version), image); err != nil {
			t.Fatal(err)
		}
		holds(t, pointer, image.Digest)
	}
	refuse = true
	var seen events
	env.Progress = seen.add
	before := head(t, pointer)
	if _, err := newRegistry(t, env).PushImage(t.Context(), app("1.4.2"), third); err != nil {
		t.Error(err)
	}
	holds(t, host+"/fleet/operator:1.4.2", third.Digest)
	holds(t, pointer, before)
	if last := seen.all[len(seen.all)-1]; !strings.Contains(last.Message, "configured as immutable") {
		t.Errorf("last event is %+v", last)
	}
	// A version that was published without the pointer gets it later.
	refuse = false
	again, err := newRegistry(t, env).PushImage(t.Context(), app("1.4.2"), third)
	if err != nil || !again.Unchanged {
		t.Errorf("again: %+v, %v", again, err)
	}
	holds(t, pointer, third.Digest)
}

func head(t *testing.T, reference string) string {
	t.Helper()
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Head(ref)
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest.String()
}

func TestPushImageFromAnotherRepository(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		for _, index := range []bool{false, true} {
			image := built(t, index)
			held, err := newRegistry(t, environment(host+"/builds")).PushImage(t.Context(), app(fmt.Sprintf("1.4.0-%t", index)), image)
			if err != nil {
				t.Fatal(err)
			}
			a := app("1.4.0")
			prefix := fmt.Sprintf("/released-%t", index)
			pushed, err := newRegistry(t, environment(host+prefix)).PushImage(t.Context(), a, held)
			if err != nil || pushed.FullName() != host+prefix+"/fleet-operator" || pushed.Unchanged {
				t.Fatalf("%+v, %v", pushed, err)
			}
			holds(t, pushed.FullName()+":1.4.0", image.Digest)
			again, err := newRegistry(t, environment(host+prefix)).PushImage(t.Context(), a, held)
			if err != nil || !again.Unchanged {
				t.Errorf("again: %+v, %v", again, err)
			}
		}
	})
}
