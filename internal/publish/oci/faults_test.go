package oci

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/nationtech/harmony/pkg/protocol"
	"github.com/nationtech/harmony/test/faultproxy"
)

var quiet = log.New(io.Discard, "", 0)

// secured runs the test against every registry that wants credentials.
func secured(t *testing.T, test func(t *testing.T, f *front)) {
	for what, start := range map[string]func(testing.TB) *front{"docker-registry with TLS and basic": basicRegistry, "distribution 3 with tokens": tokenRegistry} {
		t.Run(what, func(t *testing.T) {
			f := start(t)
			loggedIn(t, f.host)
			test(t, f)
		})
	}
}

func (f *front) registry(t testing.TB, prefix string) imageRegistry {
	return imageRegistry{fastClient(t, environment(f.host+"/"+prefix), "spec.ociRegistry", f.through)}
}

// holds looks that the whole image is in the registry under the tag.
func (f *front) holds(t testing.TB, reference, digest string) {
	t.Helper()
	ref, err := name.ParseReference(f.host + "/" + reference)
	if err != nil {
		t.Fatal(err)
	}
	held, err := remote.Get(ref, f.options()...)
	if err != nil {
		t.Fatal(err)
	}
	if got := held.Digest.String(); got != digest {
		t.Fatalf("%s holds %s; want %s", reference, got, digest)
	}
	if held.MediaType.IsIndex() {
		index, err := held.ImageIndex()
		if err = errors.Join(err, validate.Index(index)); err != nil {
			t.Error(err)
		}
		return
	}
	image, err := held.Image()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, layer := range layers {
		blob, err := layer.Compressed() // verified by its digest
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, blob); err != nil {
			t.Error(err)
		}
		blob.Close()
	}
	if _, err := image.RawConfigFile(); err != nil {
		t.Error(err)
	}
}

func (f *front) options() []remote.Option {
	return []remote.Option{remote.WithTransport(f.through), remote.WithAuth(&authn.Basic{Username: user, Password: password})}
}

// Every fault at every request of a push is survived.
func TestPushSurvivesEveryFault(t *testing.T) {
	secured(t, func(t *testing.T, f *front) {
		image := large(t, 1, 8<<10)
		f.Inject(0, faultproxy.Fault{})
		if _, err := f.registry(t, "count").PushImage(t.Context(), app("1.4.0"), image); err != nil {
			t.Fatal(err)
		}
		requests := f.Requests()
		if len(requests) < 10 {
			t.Fatalf("a push has %d requests only: %q", len(requests), requests)
		}
		faults := faultproxy.Faults()
		if f.bearer {
			faults = append(faults, faultproxy.Expired())
		}
		for i, fault := range faults {
			for n := 1; n <= len(requests); n++ {
				if strings.HasPrefix(fault.Name, "429") && (n+i)%4 != 0 {
					continue // each costs a second
				}
				f.Inject(n, fault)
				prefix := fmt.Sprintf("fault%d/request%d", i, n)
				if _, err := f.registry(t, prefix).PushImage(t.Context(), app("1.4.0"), image); err != nil {
					t.Errorf("%s at request %d: %v\n%s", fault.Name, n, err, strings.Join(f.Requests(), "\n"))
					continue
				}
				seen := f.Requests()
				if len(seen) < n {
					t.Errorf("%s at request %d: there were %d only", fault.Name, n, len(seen))
				}
				f.Inject(0, faultproxy.Fault{})
				f.holds(t, prefix+"/fleet/operator:1.4.0", image.Digest)
			}
		}
	})
}

// A multi-platform image is survived for as well, whose manifests come one after
// the other.
func TestIndexSurvivesFaults(t *testing.T) {
	f := tokenRegistry(t)
	loggedIn(t, f.host)
	image := built(t, true)
	f.Inject(0, faultproxy.Fault{})
	if _, err := f.registry(t, "count").PushImage(t.Context(), app("1.4.0"), image); err != nil {
		t.Fatal(err)
	}
	total := len(f.Requests())
	for i, fault := range faultproxy.Faults() {
		if fault.Name != "answer lost" && fault.Name != "503" {
			continue
		}
		for n := 1; n <= total; n++ {
			f.Inject(n, fault)
			prefix := fmt.Sprintf("index%d/request%d", i, n)
			if _, err := f.registry(t, prefix).PushImage(t.Context(), app("1.4.0"), image); err != nil {
				t.Errorf("%s at request %d: %v\n%s", fault.Name, n, err, strings.Join(f.Requests(), "\n"))
				continue
			}
			f.Inject(0, faultproxy.Fault{})
			f.holds(t, prefix+"/fleet/operator:1.4.0", image.Digest)
		}
	}
}

// A push that is killed at any request leaves nothing that stops the next one,
// and no tag before all is there.
func TestPushSurvivesKill(t *testing.T) {
	if prefix := os.Getenv("HARMONY_TEST_PUSH_TO"); prefix != "" {
		child(t, prefix)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f := tokenRegistry(t)
	loggedIn(t, f.host)
	image := built(t, false)
	f.Before(nil)
	if _, err := f.registry(t, "count").PushImage(t.Context(), app("1.4.0"), image); err != nil {
		t.Fatal(err)
	}
	total := len(f.Requests())
	for n := 1; n <= total; n++ {
		prefix := fmt.Sprintf("killed%d", n)
		cmd := exec.Command(self, "-test.run=^TestPushSurvivesKill$")
		cmd.Env = append(os.Environ(), "HARMONY_TEST_PUSH_TO="+f.host+"/"+prefix, "HARMONY_TEST_LAYOUT="+image.Path, "HARMONY_TEST_DIGEST="+image.Digest)
		started, killed := make(chan struct{}), make(chan struct{})
		var once sync.Once
		f.Before(func(i int) {
			if i >= n {
				once.Do(func() {
					<-started
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
					close(killed)
				})
			}
		})
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		close(started)
		select {
		case <-killed:
		case <-time.After(30 * time.Second):
			t.Fatalf("request %d did not come", n)
		}
		if cmd.ProcessState.Success() {
			t.Fatalf("the push ended before it was killed at request %d", n)
		}
		f.Before(nil)
		if ref, err := name.ParseReference(f.host + "/" + prefix + "/fleet/operator:1.4.0"); err != nil {
			t.Fatal(err)
		} else if _, err := remote.Head(ref, f.options()...); err == nil {
			f.holds(t, prefix+"/fleet/operator:1.4.0", image.Digest) // the tag is seen: so is all else
		}
		if _, err := f.registry(t, prefix).PushImage(t.Context(), app("1.4.0"), image); err != nil {
			t.Errorf("after a kill at request %d: %v", n, err)
			continue
		}
		f.holds(t, prefix+"/fleet/operator:1.4.0", image.Digest)
	}
}

func child(t *testing.T, url string) {
	image := protocol.ImageRef{Repository: "fleet/operator", Digest: os.Getenv("HARMONY_TEST_DIGEST"), Location: protocol.InLayout, Path: os.Getenv("HARMONY_TEST_LAYOUT")}
	if _, err := newRegistry(t, environment(url)).PushImage(t.Context(), app("1.4.0"), image); err != nil {
		t.Fatal(err)
	}
}
