package daemonless

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// damages are what happens to a file of the cache.
var damages = map[string]func([]byte) []byte{ //nolint:gochecknoglobals // a table
	"a bit":  func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
	"cut":    func(b []byte) []byte { return b[:len(b)/2] },
	"empty":  func([]byte) []byte { return nil },
	"longer": func(b []byte) []byte { return append(b, "more"...) },
	"other":  func(b []byte) []byte { return []byte(strings.Repeat("x", len(b))) },
}

// TestDamagedCache builds from base images and downloads whose files in the cache
// were damaged: the image has what the digests name, and the files are mended.
func TestDamagedCache(t *testing.T) {
	host, _ := startRegistry(t)
	reference := pushIndex(t, host)
	const tool = "the tool\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tool) }))
	t.Cleanup(server.Close)
	app := project(t, onBase+"ADD --checksum="+digest.FromString(tool).String()+" "+server.URL+"/tool /\nCOPY n /\n", map[string]string{"a": "A", "n": ""})
	app.Image.Dockerfile.Args = map[string]string{"BASE": reference}
	b := newBuilder(t)
	_, image := mustBuild(t, b, app)
	want := list(t, image)
	files, err := filepath.Glob(filepath.Join(b.cache, ".bases", "sha256", "*"))
	if err != nil || len(files) != 6 { // index, manifest, configuration, two layers, the tool
		t.Fatalf("%v, %v", files, err)
	}
	count := 0
	for what, damage := range damages {
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// In place: layouts have links to the file.
			if err := os.WriteFile(file, damage(data), 0o600); err != nil {
				t.Fatal(err)
			}
			count++
			write(t, app.ProjectRoot, map[string]string{"n": strings.Repeat("n", count)})
			_, image := mustBuild(t, newBuilderAt(t, b.cache), app)
			if got := strings.Replace(list(t, image), " n "+strings.Repeat("n", count), " n", 1); got != want {
				t.Errorf("%s in %s:\n%s\nwant\n%s", what, filepath.Base(file), got, want)
			}
			if now, err := os.ReadFile(file); err != nil || digest.FromBytes(now).Encoded() != filepath.Base(file) {
				t.Errorf("%s in %s: not mended, %v", what, filepath.Base(file), err)
			}
		}
	}
}

// TestNoCacheFetchesAgain counts the downloads of ADD.
func TestNoCacheFetchesAgain(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, "x")
	}))
	t.Cleanup(server.Close)
	app := project(t, "FROM scratch\nADD --checksum="+digest.FromString("x").String()+" "+server.URL+"/x /x\n", nil)
	cache := t.TempDir()
	for range 2 {
		b, err := New(&build.Flags{NoCache: true})(t.Context(), capability.Environment{Cache: cache, Progress: func(protocol.Event) {}})
		if err != nil {
			t.Fatal(err)
		}
		mustBuild(t, builder{b, cache}, app)
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("downloaded %d times, want twice", n)
	}
}

// TestServersOfAdd is of servers that never end, or send elsewhere.
func TestServersOfAdd(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			<-r.Context().Done()
		case "/pause":
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "begin")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/huge":
			w.Header().Set("Content-Length", "99999999999")
		case "/away":
			http.Redirect(w, r, "http://192.0.2.1/x", http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/here":
			http.Redirect(w, r, "/there", http.StatusFound)
		default:
			_, _ = io.WriteString(w, "x")
		}
	}))
	t.Cleanup(plain.Close)
	for name, test := range map[string]struct {
		code int
		want string
	}{
		"/hang": {4, "no data received from"}, "/pause": {4, "no data received from"}, "/huge": {2, "larger than 8589934592 bytes"},
		"/away": {2, "redirects to another machine by http://"}, "/file": {2, "redirects from http:// to file://"},
		"/loop": {2, "redirects more than 5 times"}, "/here": {0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := newBackend(capability.Environment{Cache: t.TempDir(), Progress: func(protocol.Event) {}})
			if err != nil {
				t.Fatal(err)
			}
			b.patience = 100 * time.Millisecond
			adapter, err := build.New(b.env, nil, b)
			if err != nil {
				t.Fatal(err)
			}
			_, err = adapter.BuildImage(t.Context(), project(t, "FROM scratch\nADD --checksum="+digest.FromString("x").String()+" "+plain.URL+name+" /x\n", nil))
			if protocol.ExitCode(err) != test.code || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("status %d, %v; want %d, %q", protocol.ExitCode(err), err, test.code, test.want)
			}
		})
	}
}
