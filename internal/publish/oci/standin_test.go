package oci

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/pkg/protocol"
)

// resuming is a stand-in for a registry that goes on with an upload that broke
// off, as the distribution specification has it: distribution itself does not.
type resuming struct {
	mu     sync.Mutex
	data   map[string][]byte // by the upload's path
	sent   int64
	breaks int  // how many uploads are still to break
	ranges bool // whether it tells how far an upload came
	done   map[string]bool
}

func (s *resuming) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.URL.Path == "/v2/":
	case r.Method == http.MethodHead && !s.done[r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]]:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodPost:
		path := fmt.Sprintf("/v2/upload/%d", len(s.data))
		s.data[path] = nil
		w.Header().Set("Location", path+"?state=a")
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v2/upload/"):
		if !s.ranges {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Location", r.URL.Path+"?state=b")
		w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, len(s.data[r.URL.Path])-1)))
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPatch:
		s.patch(w, r)
	case r.Method == http.MethodPut && r.URL.Query().Has("digest"):
		sum := sha256.Sum256(s.data[r.URL.Path])
		if "sha256:"+hex.EncodeToString(sum[:]) != r.URL.Query().Get("digest") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.done[r.URL.Query().Get("digest")] = true
		w.WriteHeader(http.StatusCreated)
	case r.Method == http.MethodPut:
		w.WriteHeader(http.StatusCreated)
	}
}

func (s *resuming) patch(w http.ResponseWriter, r *http.Request) {
	if want := r.Header.Get("Content-Range"); want != "" && !strings.HasPrefix(want, fmt.Sprintf("%d-", len(s.data[r.URL.Path]))) {
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		return
	}
	body := io.Reader(r.Body)
	broken := s.breaks > 0 && r.ContentLength > 1<<20
	if broken {
		s.breaks--
		body = io.LimitReader(body, 1<<20)
	}
	data, err := io.ReadAll(body)
	s.data[r.URL.Path] = append(s.data[r.URL.Path], data...)
	s.sent += int64(len(data))
	if broken || err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Location", r.URL.Path+"?state=c")
	w.WriteHeader(http.StatusAccepted)
}

func TestUploadResumes(t *testing.T) {
	for _, ranges := range []bool{true, false} {
		s := &resuming{breaks: 3, ranges: ranges, done: map[string]bool{}, data: map[string][]byte{}}
		image := large(t, 1, 4<<20)
		c := fastClient(t, environment(serve(t, s)), "spec.ociRegistry", nil)
		if _, err := (imageRegistry{c}).PushImage(t.Context(), app("1.4.0"), image); err != nil {
			t.Fatal(err)
		}
		again := s.sent > 5<<20
		if again != !ranges {
			t.Errorf("a registry that tells ranges (%t) got %d bytes for 4 MiB", ranges, s.sent)
		}
	}
}

// harbor is a stand-in that answers as Harbor does, after its documentation and
// the issues goharbor/harbor#17332 and #18792.
func harbor(method, part string, status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v2/":
		case r.Method == method && strings.Contains(r.URL.Path, part):
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		case r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/manifests/"):
			w.WriteHeader(http.StatusNotFound)
		case r.Method == http.MethodPut:
			w.WriteHeader(http.StatusCreated)
		}
	})
}

func TestPushToHarborStandIn(t *testing.T) {
	tests := []struct {
		name, method, part string
		status             int
		code, words, hint  string
	}{
		{"project missing", http.MethodPost, "/blobs/uploads/", 404, "NOT_FOUND", "project fleet not found", "project"},
		{"project missing, by name", http.MethodPost, "/blobs/uploads/", 404, "NAME_UNKNOWN", "repository name not known to registry", "project"},
		{"immutable tag", http.MethodPut, "/manifests/1.4.0", 412, "PRECONDITION", "Failed to process request due to 'operator:1.4.0' configured as immutable.", "new version"},
		{"robot without push", http.MethodPost, "/blobs/uploads/", 403, "DENIED", "requested access to the resource is denied", "allowed to push"},
		{"robot with a wrong secret", http.MethodPost, "/blobs/uploads/", 401, "UNAUTHORIZED", "unauthorized to access repository: fleet/operator, action: push", "docker login"},
		{"quota", http.MethodPut, "/manifests/", 403, "DENIED", "adding 512.0 MiB of storage resource, which when updated to current usage of 800.0 MiB will exceed the configured upper limit of 1.0 GiB.", "quota"},
		{"quota, too large", http.MethodPost, "/blobs/uploads/", 413, "DENIED", "exceeds the quota", "quota"},
		{"proxy cache", http.MethodPost, "/blobs/uploads/", 405, "UNSUPPORTED", "can not push artifact to a proxy project: fleet", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var count atomic.Int64
			body := fmt.Sprintf(`{"errors":[{"code":%q,"message":%q}]}`, test.code, test.words)
			inner := harbor(test.method, test.part, test.status, body)
			if test.part == "/blobs/uploads/" { // blobs are not there
				refusing := inner
				inner = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodHead {
						w.WriteHeader(http.StatusNotFound)
						return
					}
					refusing.ServeHTTP(w, r)
				})
			}
			host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == test.method && strings.Contains(r.URL.Path, test.part) {
					count.Add(1)
				}
				inner.ServeHTTP(w, r)
			}))
			image := built(t, false)
			_, err := newRegistry(t, environment(host+"/fleet")).PushImage(t.Context(), app("1.4.0"), image)
			if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), test.words) || !strings.Contains(protocol.HintOf(err), test.hint) {
				t.Errorf("got status %d, %v\nhint %q", protocol.ExitCode(err), err, protocol.HintOf(err))
			}
			if n := count.Load(); n == 0 || n > parallel {
				t.Errorf("it was asked for %d times", n)
			}
		})
	}
}

func TestOverwrite(t *testing.T) {
	host := harmonyRegistry(t)
	first, second := built(t, false), built(t, false)
	c := fastClient(t, environment(host), "spec.ociRegistry", nil)
	if _, err := (imageRegistry{c}).PushImage(t.Context(), app("1.4.0"), first); err != nil {
		t.Fatal(err)
	}
	if _, err := (imageRegistry{c}).PushImage(t.Context(), app("1.4.0"), second); err == nil || !strings.Contains(protocol.HintOf(err), "--overwrite") {
		t.Errorf("got %v, hint %q", err, protocol.HintOf(err))
	}
	c.flags = &publish.Flags{Overwrite: true}
	if _, err := (imageRegistry{c}).PushImage(t.Context(), app("1.4.0"), second); err != nil {
		t.Fatal(err)
	}
	holds(t, host+"/fleet/operator:1.4.0", second.Digest)
}

// What a registry wants to be asked later than anybody waits for is told at
// once.
func TestRetryAfterBeyondPatience(t *testing.T) {
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	start := time.Now()
	_, err := newRegistry(t, environment(host)).PushImage(t.Context(), app("1.4.0"), built(t, false))
	if protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), "1h0m0s") || time.Since(start) > 2*time.Second {
		t.Errorf("got status %d, %v after %s", protocol.ExitCode(err), err, time.Since(start))
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-1": 0, "soon": 0, "99999999999999": 0,
		"Thu, 01 Jan 2026 00:00:30 GMT": 30 * time.Second, "Wed, 31 Dec 2025 00:00:00 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: got %s, want %s", value, got, want)
		}
	}
}

func TestRangeEnd(t *testing.T) {
	for value, want := range map[string]int64{"0-0": 0, "0-99": 100, "bytes=0-99": 100, "": -1, "1-5": -1, "0-x": -1, "0--5": -1} {
		got, ok := rangeEnd(value)
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%q: got %d, want %d", value, got, want)
		}
	}
}

// Credentials stay with the host that they are for: not with one that it
// redirects to, and not with one where it wants the bytes.
func TestCredentialsStay(t *testing.T) {
	var leaked, reached atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		if r.Header.Get("Authorization") != "" || strings.Contains(r.URL.String(), password) {
			leaked.Add(1)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodHead {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Location", r.URL.Path)
		w.WriteHeader(http.StatusCreated)
	}))
	t.Cleanup(other.Close)
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
	for _, scheme := range []string{"basic", "bearer"} {
		var authorized atomic.Int64
		host := ""
		host = serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == "" {
				challenge := `Basic realm="x"`
				if scheme == "bearer" {
					challenge = `Bearer realm="http://` + host + `/token",service="x"`
				}
				w.Header().Set("WWW-Authenticate", challenge)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			authorized.Add(1)
			switch {
			case r.URL.Path == "/token":
				_, _ = io.WriteString(w, `{"token":"`+password+`"}`)
			case r.Method == http.MethodPost:
				w.Header().Set("Location", elsewhere+"/upload")
				w.WriteHeader(http.StatusAccepted)
			case strings.Contains(r.URL.Path, "/manifests/") && r.Method == http.MethodPut:
				w.WriteHeader(http.StatusCreated)
			default:
				http.Redirect(w, r, elsewhere+r.URL.Path, http.StatusTemporaryRedirect)
			}
		}))
		loggedIn(t, host)
		if _, err := newRegistry(t, environment(host)).PushImage(t.Context(), app("1.4.0"), built(t, false)); err != nil {
			t.Fatal(err)
		}
		if authorized.Load() == 0 || reached.Load() == 0 || leaked.Load() != 0 {
			t.Errorf("%s: %d requests with credentials, %d to the other host, of which %d had credentials", scheme, authorized.Load(), reached.Load(), leaked.Load())
		}
	}
}

// Apps that share a layer send it once, also in two runs.
func TestPushMounts(t *testing.T) {
	f := tokenRegistry(t)
	loggedIn(t, f.host)
	image := built(t, false)
	env := environment(f.host)
	env.Cache = t.TempDir()
	for i, repository := range []string{"fleet/first", "fleet/second", "fleet/third"} {
		if i == 2 { // what is remembered wrongly costs nothing but requests
			env.Cache = t.TempDir()
		}
		c := fastClient(t, env, "spec.ociRegistry", f.through)
		if i == 2 {
			gone, err := name.NewRepository(f.host + "/fleet/gone")
			if err != nil {
				t.Fatal(err)
			}
			for _, digest := range blobsOf(t, image) {
				c.mounts.add(digest, gone)
			}
		}
		f.Before(nil)
		image.Repository = repository
		if _, err := (imageRegistry{c}).PushImage(t.Context(), app("1.4.0"), image); err != nil {
			t.Fatal(err)
		}
		sent := strings.Count(strings.Join(f.Requests(), "\n"), "PATCH ")
		if sent > 0 != (i != 1) {
			t.Errorf("%s: %d blobs were sent", repository, sent)
		}
		f.holds(t, repository+":1.4.0", image.Digest)
	}
}

func blobsOf(t *testing.T, image protocol.ImageRef) []v1.Hash {
	t.Helper()
	content, err := readLayout(image.Path, image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	var list []v1.Hash
	for _, b := range content.blobs {
		list = append(list, b.descriptor.Digest)
	}
	return list
}
