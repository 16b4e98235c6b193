package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"github.com/nationtech/harmony/internal/plugins/artifact"
	"github.com/nationtech/harmony/internal/plugins/store"
	"github.com/nationtech/harmony/pkg/protocol"
)

var content = []byte(strings.Repeat("a plugin's bytes\n", 1000))

func artifactAt(uri string) store.Artifact {
	return store.Artifact{Name: "foo", Version: "1.0.0", Artifact: artifact.Artifact{URI: uri, SHA256: hashOf(content), Size: int64(len(content))}}
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// fetch downloads into a file and returns what is in it afterwards.
func fetch(t *testing.T, f store.Fetcher, a store.Artifact) ([]byte, error) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	defer file.Close()
	fetched := f.Fetch(t.Context(), a, file)
	data, err := os.ReadFile(file.Name())
	must(t, err)
	return data, fetched
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// overTLS serves by https, and returns a fetcher that trusts it.
func overTLS(t *testing.T, handler http.HandlerFunc) (string, store.Fetcher) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	return server.URL, store.Fetcher{Transport: server.Client().Transport}
}

func TestFetch(t *testing.T) {
	url, secure := overTLS(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/artifact", http.StatusFound)
			return
		}
		w.Write(content)
	})
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(content) }))
	defer plain.Close()
	path := filepath.Join(t.TempDir(), "artifact")
	must(t, os.WriteFile(path, content, 0o600))
	var seen int64
	secure.Progress = func(current, total int64) { seen = current }
	for uri, f := range map[string]store.Fetcher{
		url + "/artifact": secure, url + "/moved": secure, plain.URL: {AllowHTTP: true}, "file://" + path: {}, "oci://" + inRegistry(t, content) + ":1.0.0": {},
	} {
		data, err := fetch(t, f, artifactAt(uri))
		if err != nil || !bytes.Equal(data, content) {
			t.Errorf("%s: %d bytes, %v", uri, len(data), err)
		}
	}
	if seen != int64(len(content)) {
		t.Errorf("progress ended at %d", seen)
	}
}

// inRegistry pushes a layer into a registry of the test's own, and returns its
// repository.
func inRegistry(t *testing.T, data []byte) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	repository, err := name.NewRepository(strings.TrimPrefix(server.URL, "http://") + "/plugins/foo")
	must(t, err)
	must(t, remote.WriteLayer(repository, static.NewLayer(data, "application/octet-stream")))
	return repository.String()
}

func TestFetchRefuses(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); io.WriteString(w, body) }
	}
	toHTTP := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/x", http.StatusFound)
	}
	toFile := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	}
	forever := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) }
	endless := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(content); err != nil {
				return
			}
		}
	}
	larger := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)+1))
		w.Write(append(content[:len(content):len(content)], 'x'))
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:100])
	}
	short := func(w http.ResponseWriter, _ *http.Request) {
		w.Write(content[:100])
		http.NewResponseController(w).Flush() // chunked: it ends as it should
	}
	for name, test := range map[string]struct {
		serve http.HandlerFunc
		want  string
		code  int
		// asked is how often the server is asked.
		asked int32
	}{
		"not found":             {answer(404, "no"), "404 Not Found", protocol.ExitFailed, 1},
		"unavailable":           {answer(503, "later"), "503 Service Unavailable", protocol.ExitRetryable, 3},
		"too many requests":     {answer(429, "later"), "429", protocol.ExitRetryable, 3},
		"redirect to http":      {toHTTP, "redirects from https:// to http://, which is refused", protocol.ExitFailed, 1},
		"redirect to a file":    {toFile, "redirects from https:// to file://, which is refused", protocol.ExitFailed, 1},
		"redirects without end": {forever, "redirects more than 5 times", protocol.ExitFailed, 6},
		"larger":                {larger, "it has 17001 bytes, the index lists 17000", protocol.ExitFailed, 1},
		"endless":               {endless, "larger than the 17000 bytes", protocol.ExitFailed, 1},
		"cut":                   {cut, "after 100 of 17000 bytes", protocol.ExitRetryable, 3},
		"short":                 {short, "ended early: got 100 of 17000 bytes", protocol.ExitRetryable, 3},
		"other bytes":           {answer(200, strings.Repeat("x", len(content))), "not the artifact that the index describes", protocol.ExitFailed, 1},
		"another platform's":    {answer(200, strings.Repeat("y", len(content))), "it is the artifact for darwin/arm64", protocol.ExitFailed, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			url, f := overTLS(t, func(w http.ResponseWriter, r *http.Request) { asked.Add(1); test.serve(w, r) })
			a := artifactAt(url + "/artifact")
			a.Others = map[string]string{hashOf(bytes.Repeat([]byte("y"), len(content))): "darwin/arm64"}
			data, err := fetch(t, f, a)
			if err == nil || !strings.Contains(err.Error(), test.want) || protocol.ExitCode(err) != test.code {
				t.Errorf("got %v (status %d), want %q (status %d)", err, protocol.ExitCode(err), test.want, test.code)
			}
			if len(data) > 0 || asked.Load() != test.asked {
				t.Errorf("%d bytes are left, and the server was asked %d times, want %d", len(data), asked.Load(), test.asked)
			}
		})
	}
}

func TestFetchRefusesAddresses(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(content) }))
	defer plain.Close()
	away := httptest.NewServer(http.RedirectHandler("http://192.0.2.1/x", http.StatusFound))
	defer away.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(content) }))
	defer secure.Close()
	for _, test := range []struct {
		uri  string
		f    store.Fetcher
		want string
	}{
		{plain.URL, store.Fetcher{}, "http:// is not safe"},
		{away.URL, store.Fetcher{AllowHTTP: true}, "redirects to another machine by http://, which is refused"},
		{"http://192.0.2.1/x", store.Fetcher{AllowHTTP: true}, "http:// is not safe"},
		{"http://127.0.0.1.example.com/x", store.Fetcher{AllowHTTP: true}, "http:// is not safe"},
		{secure.URL, store.Fetcher{}, "certificate"},
		{"ftp://example.com/x", store.Fetcher{}, "not by \"ftp\""},
		{"/etc/passwd", store.Fetcher{}, "not by \"\""},
		{"file:///nowhere/at/all", store.Fetcher{}, "no such file"},
		{"file:///dev/zero", store.Fetcher{}, "is not a regular file"},
		{"file://elsewhere/x", store.Fetcher{}, "must name a file on this machine"},
		{"oci://", store.Fetcher{}, "names a repository"},
		{"oci://" + inRegistry(t, []byte("something else")), store.Fetcher{}, "BLOB_UNKNOWN"},
		{"oci://192.168.255.255:1/x/y", store.Fetcher{Transport: refuseTLS{}}, "plain http to 192.168.255.255:1 is not allowed"},
	} {
		if _, err := fetch(t, test.f, artifactAt(test.uri)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.uri, err, test.want)
		}
	}
}

// refuseTLS is a network on which nothing speaks TLS.
type refuseTLS struct{}

func (refuseTLS) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("http: server gave HTTP response to HTTPS client")}
}

// A registry that sends its blobs elsewhere cannot send us to another scheme.
func TestFetchRefusesRedirectsOfRegistries(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(content) }))
	defer plain.Close()
	url, f := overTLS(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, plain.URL+"/blob", http.StatusTemporaryRedirect)
		}
	})
	_, err := fetch(t, f, artifactAt("oci://"+strings.TrimPrefix(url, "https://")+"/plugins/foo:1.0.0"))
	if err == nil || !strings.Contains(err.Error(), "redirects from https:// to http://, which is refused") || protocol.ExitCode(err) != protocol.ExitFailed {
		t.Errorf("got %v", err)
	}
}

// What was cut short once is begun again.
func TestFetchTriesAgain(t *testing.T) {
	var asked atomic.Int32
	url, f := overTLS(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		if asked.Add(1) == 1 {
			w.Write(content[:len(content)/2])
			return
		}
		w.Write(content)
	})
	data, err := fetch(t, f, artifactAt(url))
	if err != nil || !bytes.Equal(data, content) || asked.Load() != 2 {
		t.Errorf("%d bytes after %d requests: %v", len(data), asked.Load(), err)
	}
}

// A server that falls silent does not hold an install up for ever.
func TestFetchLosesPatience(t *testing.T) {
	url, f := overTLS(t, func(w http.ResponseWriter, r *http.Request) {
		w.Write(content[:10])
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	f.Patience = 50 * time.Millisecond
	if _, err := fetch(t, f, artifactAt(url)); protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), "no data received from") {
		t.Errorf("got %v", err)
	}
}

func TestFetchIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	url, f := overTLS(t, func(_ http.ResponseWriter, r *http.Request) { cancel(); <-r.Context().Done() })
	file, err := os.CreateTemp(t.TempDir(), "")
	must(t, err)
	defer file.Close()
	if err := f.Fetch(ctx, artifactAt(url), file); protocol.ExitCode(err) != protocol.ExitInterrupted {
		t.Errorf("got %v", err)
	}
}
