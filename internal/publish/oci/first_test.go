package oci

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/nationtech/harmony/pkg/protocol"
)

// refusing is a registry that hides what a repository lacks, as some do that make
// it with the first push.
type refusing struct {
	registry http.Handler
	status   int  // of what is not there
	head     bool // whether it refuses every HEAD of a manifest
	push     bool // whether it refuses pushes as well
}

func (f *refusing) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func() {
		w.WriteHeader(f.status)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, `{"errors":[{"code":"DENIED","message":"no"}]}`)
		}
	}
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case f.push && r.URL.Path != "/v2/", f.head && r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/manifests/"):
		refuse()
	case reads && r.URL.Path != "/v2/":
		answer := httptest.NewRecorder()
		f.registry.ServeHTTP(answer, r)
		if answer.Code == http.StatusNotFound {
			refuse()
			return
		}
		for key, values := range answer.Header() {
			w.Header()[key] = values
		}
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	default:
		f.registry.ServeHTTP(w, r)
	}
}

// The first push makes the repository: until then some registries answer 401 or
// 403 to whoever asks what is in it.
func TestFirstPush(t *testing.T) {
	for name, f := range map[string]*refusing{
		"401": {status: http.StatusUnauthorized}, "403": {status: http.StatusForbidden},
		"never HEAD": {status: http.StatusForbidden, head: true},
	} {
		t.Run(name, func(t *testing.T) {
			f.registry = ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
			host := serve(t, f)
			image := built(t, true)
			image.InputDigest = "sha256:" + strings.Repeat("ab", 32)
			for _, dry := range []bool{true, false} {
				env := environment(host)
				env.DryRun = dry
				got, err := newRegistry(t, env).PushImage(t.Context(), app("1.4.0"), image)
				if err != nil || got.Unchanged {
					t.Fatalf("dry run %t: %+v, %v", dry, got, err)
				}
				if _, err := newHelm(t, host, dry).PushChart(t.Context(), chartApp(t, "1.4.0"), pushedImage()); err != nil {
					t.Fatalf("chart, dry run %t: %v", dry, err)
				}
			}
			again, err := newRegistry(t, environment(host)).PushImage(t.Context(), app("1.4.0"), image)
			if err != nil || !again.Unchanged {
				t.Errorf("again: %+v, %v", again, err)
			}
			if _, err := newRegistry(t, environment(host)).PushImage(t.Context(), app("1.4.0"), built(t, false)); err == nil {
				t.Error("another image became the release")
			}
			access, err := Check(t.Context(), environment(host), "spec.ociRegistry")
			if err != nil || access.Pull != nil || access.Push != nil {
				t.Errorf("check: %+v, %v", access, err)
			}
		})
	}
}

// Who may not push is told so, in a dry run as well.
func TestFirstPushRefused(t *testing.T) {
	host := serve(t, &refusing{registry: ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))), status: http.StatusForbidden, push: true})
	for _, dry := range []bool{true, false} {
		env := environment(host)
		env.DryRun = dry
		_, err := newRegistry(t, env).PushImage(t.Context(), app("1.4.0"), built(t, false))
		if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(protocol.HintOf(err), "docker login") {
			t.Errorf("dry run %t: got %v", dry, err)
		}
	}
}

// Of two that release the same version at once, one fails: here the other's
// manifest comes just before, or just after, ours.
func TestReleasedMeanwhile(t *testing.T) {
	for _, after := range []bool{false, true} {
		inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
		var host string
		var once sync.Once
		theirs := built(t, false)
		var other error
		meanwhile := func() {
			_, other = newRegistry(t, environment(strings.Replace(host, "127.0.0.1", "localhost", 1))).PushImage(t.Context(), app("1.4.0"), theirs)
		}
		host = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			tags := r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/1.4.0") && strings.HasPrefix(r.Host, "127.0.0.1")
			if tags && after {
				inner.ServeHTTP(w, r)
				once.Do(func() { // the other one had looked before
					raw := httptest.NewRequest(http.MethodPut, r.URL.Path, strings.NewReader(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
					raw.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
					inner.ServeHTTP(httptest.NewRecorder(), raw)
				})
				return
			}
			if !after && r.Method == http.MethodPost && strings.HasPrefix(r.Host, "127.0.0.1") {
				once.Do(meanwhile)
			}
			inner.ServeHTTP(w, r)
		}))
		_, err := newRegistry(t, environment(host)).PushImage(t.Context(), app("1.4.0"), built(t, false))
		if other != nil || err == nil || !strings.Contains(err.Error(), "is already published with another digest") {
			t.Errorf("after %t: got %v; the other %v", after, err, other)
		}
		if !after {
			holds(t, host+"/fleet/operator:1.4.0", theirs.Digest)
		}
	}
}
