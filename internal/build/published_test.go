package build_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	inprocess "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/daemonless"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// server is a registry that keeps what it was asked for.
type server struct {
	host string

	mu       sync.Mutex
	requests []string
}

func startServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	inner := inprocess.New(inprocess.Logger(log.New(io.Discard, "", 0)))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests = append(s.requests, r.Method+" "+r.URL.Path)
		s.mu.Unlock()
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	s.host = strings.TrimPrefix(web.URL, "http://")
	return s
}

// asked are the requests since the last call.
func (s *server) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.requests
	s.requests = nil
	return asked
}

// publish does what harmony publish does: the image goes under the version and
// under its input.
func (s *server) publish(t *testing.T, prefix string, ref protocol.ImageRef) {
	t.Helper()
	image := layoutImage(t, ref)
	s.push(t, prefix+ref.Repository+":"+protocol.InputTag(ref.InputDigest), image)
	s.push(t, prefix+ref.Repository+":"+protocol.TagOf(ref.Version), image)
}

func layoutImage(t *testing.T, ref protocol.ImageRef) v1.Image {
	t.Helper()
	path, err := layout.FromPath(ref.Path)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := v1.NewHash(ref.Digest)
	if err != nil {
		t.Fatal(err)
	}
	image, err := path.Image(sum)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func (s *server) push(t *testing.T, reference string, image v1.Image) string {
	t.Helper()
	tag, err := name.NewTag(s.host + "/" + reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image); err != nil {
		t.Fatal(err)
	}
	s.asked()
	return tag.String()
}

// noLayers fails for requests that download more than one blob, which is the
// configuration.
func noLayers(t *testing.T, requests []string) {
	t.Helper()
	blobs := 0
	for _, r := range requests {
		if strings.HasPrefix(r, "GET ") && strings.Contains(r, "/blobs/") {
			blobs++
		}
	}
	if len(requests) == 0 || blobs > 1 {
		t.Errorf("requests %q", requests)
	}
}

func TestAnotherMachineFindsTheImage(t *testing.T) {
	registry := startServer(t)
	laptop := newStage(t).registry(registry.host + "/fleet-registry")
	made := laptop.daemonless(t, demo(t))
	if made.Unchanged || made.Location != protocol.InLayout {
		t.Fatalf("made %+v", made)
	}
	registry.publish(t, "fleet-registry/", made)

	ci := newStage(t).registry(registry.host + "/fleet-registry")
	ci.flags.Explain = true
	found := ci.daemonless(t, demo(t))
	want := protocol.ImageRef{
		Metadata: made.Metadata, Registry: registry.host, Repository: "fleet-registry/fleet/demo", Tag: "1.0.0", Digest: made.Digest,
		InputDigest: made.InputDigest, Location: protocol.InRegistry, Insecure: true, Unchanged: true,
	}
	platforms := found.Platforms
	found.Platforms = nil
	if !equal(found, want) || !slices.Equal(platforms, []string{"linux/amd64"}) {
		t.Errorf("found %+v\n want %+v", found, want)
	}
	noLayers(t, registry.asked())
	if said := strings.Join(ci.said("explain"), "\n"); !strings.Contains(said, "not built: the registry has the image of this input") || !strings.Contains(said, made.Digest) {
		t.Errorf("explained %q", said)
	}
	if images, err := filepath.Glob(filepath.Join(ci.env.Cache, "demo", "*", "index.json")); err != nil || len(images) > 0 {
		t.Errorf("downloaded %v, %v", images, err)
	}

	t.Run("with another adapter", func(t *testing.T) {
		docker, b := newStage(t).registry(registry.host+"/fleet-registry"), &builds{}
		ref, err := docker.build(t.Context(), b.adapter(&docker.flags), demo(t))
		if err != nil || ref.Digest != made.Digest || len(b.requests) > 0 {
			t.Errorf("%+v, %v, built %d times", ref, err, len(b.requests))
		}
	})
	t.Run("in a dry run", func(t *testing.T) {
		ci := newStage(t).registry(registry.host + "/fleet-registry")
		ci.env.DryRun = true
		if ref := ci.daemonless(t, demo(t)); !ref.Planned || !ref.Unchanged || ref.Digest != made.Digest {
			t.Errorf("planned %+v", ref)
		}
	})
	t.Run("but not without cache", func(t *testing.T) {
		ci, b := newStage(t).registry(registry.host+"/fleet-registry"), &builds{}
		ci.flags.NoCache = true
		registry.asked()
		ref, err := ci.build(t.Context(), b.adapter(&ci.flags), demo(t))
		if err != nil || ref.Unchanged || len(b.requests) != 1 || !b.requests[0].NoCache {
			t.Errorf("%+v, %v, requests %+v", ref, err, b.requests)
		}
		if asked := registry.asked(); len(asked) > 0 {
			t.Errorf("asked the registry for %v", asked)
		}
	})
	t.Run("but not of another input", func(t *testing.T) {
		app := demo(t)
		write(t, app.ProjectRoot, map[string]string{"a": "B"})
		if ref := newStage(t).registry(registry.host+"/fleet-registry").daemonless(t, app); ref.Unchanged || ref.Location != protocol.InLayout {
			t.Errorf("%+v", ref)
		}
	})
}

func equal(a, b protocol.ImageRef) bool {
	return a.Metadata == b.Metadata && a.String() == b.String() && a.InputDigest == b.InputDigest && a.Location == b.Location &&
		a.Path == b.Path && a.Insecure == b.Insecure && a.Unchanged == b.Unchanged && a.Planned == b.Planned
}

// TestRegistryThatDoesNotAnswer only costs a build.
func TestRegistryThatDoesNotAnswer(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	t.Cleanup(broken.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	for name, host := range map[string]string{"broken": strings.TrimPrefix(broken.URL, "http://"), "closed": closed} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t).registry(host + "/x")
			if ref := s.daemonless(t, demo(t)); ref.Unchanged || ref.Location != protocol.InLayout {
				t.Errorf("%+v", ref)
			}
			if said := s.said("look"); len(said) != 1 || !strings.Contains(said[0], host+" was not asked whether it has the image") {
				t.Errorf("said %q", said)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		asked := make(chan struct{})
		hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(asked)
			<-r.Context().Done()
		}))
		t.Cleanup(hanging.Close)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-asked
			cancel()
		}()
		s, b := newStage(t).registry(strings.TrimPrefix(hanging.URL, "http://")), &builds{}
		_, err := s.build(ctx, b.adapter(&s.flags), demo(t))
		if !errors.Is(err, context.Canceled) || len(b.requests) > 0 {
			t.Errorf("%v, built %d times", err, len(b.requests))
		}
	})
}

// baseImage is an image for amd64 that another can be built from.
func baseImage(t *testing.T, user string) v1.Image {
	t.Helper()
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", Config: v1.Config{User: user}})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestMovedBaseImage(t *testing.T) {
	registry := startServer(t)
	reference := registry.push(t, "library/base:1", baseImage(t, "1"))
	app := demo(t)
	app.Image.Dockerfile.Args = map[string]string{"BASE": reference}
	s := newStage(t)
	s.flags.Explain = true
	first := s.daemonless(t, app)
	registry.asked()
	if again := s.daemonless(t, app); !again.Unchanged || again.Digest != first.Digest {
		t.Errorf("again %+v", again)
	}
	noLayers(t, registry.asked())

	was, err := baseImage(t, "1").Digest()
	if err != nil {
		t.Fatal(err)
	}
	is, err := baseImage(t, "2").Digest()
	if err != nil {
		t.Fatal(err)
	}
	registry.push(t, "library/base:1", baseImage(t, "2"))
	second := s.daemonless(t, app)
	if second.Unchanged || second.Digest == first.Digest || second.InputDigest == first.InputDigest {
		t.Errorf("the tag moved, but %+v", second)
	}
	want := "base image " + reference + " changed from " + was.String() + " to " + is.String()
	if said := s.said("explain"); !slices.Equal(said, []string{want}) {
		t.Errorf("explained %q, want %q", said, want)
	}
}

// daemon is a backend with base images of its own.
type daemon struct {
	builds
	images map[string]string
}

func (d *daemon) FindBase(_ context.Context, name string) (digest.Digest, *dockerfile.Base, error) {
	if d.images[name] == "" {
		return "", nil, nil
	}
	return digest.Digest(d.images[name]), &dockerfile.Base{}, nil
}

func TestBaseImagesOfTheBuilder(t *testing.T) {
	registry := startServer(t)
	for name, test := range map[string]struct {
		known bool
	}{
		"the daemon has it": {true},
		"nobody has it":     {false},
	} {
		t.Run(name, func(t *testing.T) {
			app, reference := demo(t), registry.host+"/only/local:1"
			app.Image.Dockerfile.Args = map[string]string{"BASE": reference}
			d := &daemon{}
			if test.known {
				d.images = map[string]string{reference: goldenInput}
			}
			s := newStage(t).registry(registry.host)
			registry.asked()
			ref, err := s.build(t.Context(), func(_ context.Context, env capability.Environment) (capability.ContainerBuilder, error) {
				return build.New(env, nil, d)
			}, app)
			if err != nil || len(d.requests) != 1 {
				t.Fatalf("%v, built %d times", err, len(d.requests))
			}
			if known := ref.InputDigest != ""; known != test.known {
				t.Errorf("input %q", ref.InputDigest)
			}
			if got := d.requests[0].Bases[reference].String(); (got == goldenInput) != test.known {
				t.Errorf("base %q", got)
			}
			if asked := strings.Contains(strings.Join(registry.asked(), " "), "only/local"); asked == test.known {
				t.Errorf("registry asked for the base: %t", asked)
			}
		})
	}
	t.Run("with another backend it is an error", func(t *testing.T) {
		app := demo(t)
		app.Image.Dockerfile.Args = map[string]string{"BASE": registry.host + "/only/local:1"}
		s, b := newStage(t), &builds{}
		_, err := s.build(t.Context(), b.adapter(nil), app)
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.HasPrefix(err.Error(), "Dockerfile:2: "+registry.host+"/only/local:1") || len(b.requests) > 0 {
			t.Errorf("status %d, %v", protocol.ExitCode(err), err)
		}
	})
}

// TestChangeMeanwhile is of a backend that does not look itself.
func TestChangeMeanwhile(t *testing.T) {
	for name, changes := range map[string]int{"once": 1, "always": 100} {
		t.Run(name, func(t *testing.T) {
			app, s, b := demo(t), newStage(t), &builds{}
			b.during = func() {
				if n := len(b.requests); n <= changes {
					write(t, app.ProjectRoot, map[string]string{"a": strings.Repeat("B", n)})
				}
			}
			ref, err := s.build(t.Context(), b.adapter(nil), app)
			if changes == 1 {
				if err != nil || len(b.requests) != 2 || ref.InputDigest != b.requests[1].Input || b.requests[0].Input == b.requests[1].Input {
					t.Errorf("%+v, %v, built %d times", ref, err, len(b.requests))
				}
				return
			}
			if protocol.ExitCode(err) != protocol.ExitRetryable || len(b.requests) != 3 {
				t.Errorf("status %d, %v, built %d times", protocol.ExitCode(err), err, len(b.requests))
			}
			if left, err := filepath.Glob(filepath.Join(s.env.Cache, "demo", ".*")); err != nil || len(left) > 0 {
				t.Errorf("left %v, %v", left, err)
			}
		})
	}
}

func TestAbandonedContextsAreRemoved(t *testing.T) {
	app, s, b := demo(t), newStage(t), &builds{}
	long := time.Now().Add(-48 * time.Hour)
	for name, when := range map[string]time.Time{".context-old": long, ".context-young": time.Now()} {
		dir := filepath.Join(s.env.Cache, "demo", name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, when, when); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.build(t.Context(), b.adapter(nil), app); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(s.env.Cache, "demo", ".context-*"))
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != ".context-young" {
		t.Errorf("left %v, %v", left, err)
	}
}

// planted is an image with another content, made to look like that of an input.
func planted(t *testing.T, image v1.Image, input string) v1.Image {
	t.Helper()
	evil, err := mutate.Config(image, v1.Config{User: "evil"})
	if err != nil {
		t.Fatal(err)
	}
	annotated, ok := mutate.Annotations(evil, map[string]string{protocol.InputAnnotation: input}).(v1.Image)
	if !ok {
		t.Fatal("not an image any more")
	}
	return annotated
}

// TestWhoVouches is of an image that somebody pushed under the tag of an input
// before it was ever built.
func TestWhoVouches(t *testing.T) {
	made := newStage(t).daemonless(t, demo(t))
	evil := planted(t, layoutImage(t, made), made.InputDigest)
	for name, test := range map[string]struct {
		version, trust, at string
		taken              bool
	}{
		"a release takes nothing of others":        {"1.0.0", "", "fleet/demo:input", false},
		"nor where that is said":                   {"1.0.0", "own", "fleet/demo:input", false},
		"nor a pre-release":                        {"1.0.0-rc.1", "", "fleet/demo:input", false},
		"a development version does":               {"1.0.0-dev.3.gabc", "", "fleet/demo:input", true},
		"a release takes what CI wrote":            {"1.0.0", "ci/inputs", "ci/inputs:input", true},
		"with the host":                            {"1.0.0", "HOST/ci/inputs", "ci/inputs:input", true},
		"and not what others wrote":                {"1.0.0", "ci/inputs", "fleet/demo:input", false},
		"a development version only what CI wrote": {"1.0.0-dev.3.gabc", "ci/inputs", "fleet/demo:input", false},
		"what is released stays so":                {"1.0.0", "", "fleet/demo:1.0.0", true},
	} {
		t.Run(name, func(t *testing.T) {
			registry := startServer(t)
			registry.push(t, strings.Replace(test.at, ":input", ":"+protocol.InputTag(made.InputDigest), 1), evil)
			s, app := newStage(t).registry(registry.host), demo(t)
			s.env.Topology.OCIRegistry.TrustInputs = strings.Replace(test.trust, "HOST", registry.host, 1)
			app.Version = test.version
			ref := s.daemonless(t, app)
			if sum, err := evil.Digest(); err != nil || (ref.Digest == sum.String()) != test.taken || ref.Unchanged != test.taken {
				t.Errorf("%+v, %v; want taken %t", ref, err, test.taken)
			}
		})
	}
	t.Run("a key is for later", func(t *testing.T) {
		s := newStage(t).registry("registry.example.com/x")
		s.env.Topology.OCIRegistry.TrustInputs = "key"
		_, err := s.build(t.Context(), daemonless.New(nil), demo(t))
		if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "does not verify signatures") {
			t.Errorf("status %d, %v", protocol.ExitCode(err), err)
		}
	})
}

// TestFoundImageIsCompared is of a development version, which takes what anybody
// built of the same input.
func TestFoundImageIsCompared(t *testing.T) {
	app := demo(t)
	app.Version = "1.0.0-dev.1.gabc"
	made := newStage(t).daemonless(t, app)
	right := layoutImage(t, made)
	config, err := right.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	other := config.DeepCopy()
	other.Architecture = "arm64"
	arm, err := mutate.ConfigFile(right, other)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := mutate.ConfigFile(empty.Image, config)
	if err != nil {
		t.Fatal(err)
	}
	for name, image := range map[string]v1.Image{
		"for another platform": arm, "without the annotation": plain, "of another input": planted(t, right, digest.FromString("other").String()),
	} {
		t.Run(name, func(t *testing.T) {
			registry := startServer(t)
			place := registry.push(t, "fleet/demo:"+protocol.InputTag(made.InputDigest), image)
			s := newStage(t).registry(registry.host)
			if ref := s.daemonless(t, app); ref.Unchanged || ref.Location != protocol.InLayout {
				t.Errorf("%+v", ref)
			}
			if said := s.said("look"); len(said) != 1 || !strings.HasPrefix(said[0], place+" is not used: it is another image: ") {
				t.Errorf("said %q", said)
			}
		})
	}
}

// TestReleaseAgain runs a release on a second machine, and on the first one when
// its layouts are gone: nothing is built again, although the builder would make
// another image each time.
func TestReleaseAgain(t *testing.T) {
	registry := startServer(t)
	first := newStage(t).registry(registry.host)
	made := first.daemonless(t, demo(t))
	registry.publish(t, "", made)
	for name, s := range map[string]*stage{"another machine": newStage(t).registry(registry.host), "the same one": first} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(made.Path); err != nil {
				t.Fatal(err)
			}
			b := &builds{}
			ref, err := s.build(t.Context(), b.adapter(&s.flags), demo(t))
			if err != nil || !ref.Unchanged || ref.Digest != made.Digest || len(b.requests) > 0 {
				t.Errorf("%+v, %v, built %d times", ref, err, len(b.requests))
			}
		})
	}
	// What this machine built it takes for another version, too.
	app := demo(t)
	app.Version = "1.0.1"
	if ref := first.daemonless(t, app); !ref.Unchanged || ref.Location != protocol.InRegistry || ref.Digest != made.Digest {
		t.Errorf("%+v", ref)
	}
}

// TestDamagedLayout is of a cache that a full disk, a power cut or somebody else
// has changed: the image in it is built again and not released.
func TestDamagedLayout(t *testing.T) {
	app, s := demo(t), newStage(t)
	made := s.daemonless(t, app)
	if again := s.daemonless(t, app); !again.Unchanged {
		t.Fatal("built again although nothing changed")
	}
	blobs, err := filepath.Glob(filepath.Join(made.Path, "blobs", "sha256", "*"))
	if err != nil || len(blobs) != 3 {
		t.Fatalf("%v, %v", blobs, err)
	}
	for _, blob := range blobs {
		for name, damage := range map[string]func([]byte) []byte{
			"a bit":  func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
			"empty":  func([]byte) []byte { return nil },
			"longer": func(b []byte) []byte { return append(b, 0) },
		} {
			right, err := os.ReadFile(blob)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(blob)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(blob, damage(slices.Clone(right)), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(blob, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
			ref := s.daemonless(t, app)
			if now, err := os.ReadFile(blob); err != nil || ref.Unchanged || ref.Digest != made.Digest || string(now) != string(right) {
				t.Errorf("%s of %s: unchanged %t, mended %t, %v", name, filepath.Base(blob), ref.Unchanged, string(now) == string(right), err)
			}
		}
	}
	if again := s.daemonless(t, app); !again.Unchanged {
		t.Error("not found after it was mended")
	}
}
