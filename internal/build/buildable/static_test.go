package buildable

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/pkg/protocol"
)

var publicFolder = map[string]string{
	"public/index.html":               "<h1>home</h1>",
	"public/style.css":                strings.Repeat("body { color: red }\n", 200),
	"public/assets/app-1a2b.js":       "let x = 1",
	"public/404.html":                 "<h1>lost</h1>",
	"public/.env":                     "SECRET",
	"public/.git/config":              "SECRET",
	"public/.well-known/security.txt": "Contact: a@example.com",
	"README.md":                       "not served",
}

func staticOptions(t *testing.T, settings map[string]any) Options {
	t.Helper()
	return optionsOf(t, protocol.Buildable{Type: "static", Folder: "public", Settings: settings}, publicFolder)
}

// startServer runs the static server of a context, its paths being those of the
// context, and returns its address and process.
func startServer(t *testing.T, c dockerfile.Context) (string, *exec.Cmd) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(c.Dir, indexName))
	if err != nil {
		t.Fatal(err)
	}
	var index siteIndex
	if err := json.Unmarshal(text, &index); err != nil {
		t.Fatal(err)
	}
	if index.Port, err = strconv.Atoi(freePort(t)); err != nil {
		t.Fatal(err)
	}
	index.Folder, index.Zipped = c.Dir+index.Folder, c.Dir+index.Zipped
	if text, err = json.Marshal(index); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "site.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(c.Dir, programFolder, platformName(here())), path)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("http://127.0.0.1:%d", index.Port)
	waitFor(t, address+"/healthz")
	return address, cmd
}

// freePort is one that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func waitFor(t *testing.T, url string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		answer, err := http.Get(url)
		if err == nil {
			answer.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func get(t *testing.T, url string) (int, string, http.Header) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", "gzip") // as it is, not undone by the client
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body := io.Reader(answer.Body)
	if answer.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			t.Fatal(err)
		}
	}
	text, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text), answer.Header
}

// TestStaticSite runs what goes into the image.
func TestStaticSite(t *testing.T) {
	o := staticOptions(t, map[string]any{"immutable": []any{"assets"}})
	o.Created = time.Unix(1700000000, 0)
	c := contextOf(t, o)
	address, cmd := startServer(t, c)
	for path, want := range map[string]struct {
		status int
		body   string
		header string // a line that the answer has
	}{
		"/":                         {200, "<h1>home</h1>", "Content-Type: text/html; charset=utf-8"},
		"/index.html":               {200, "<h1>home</h1>", "Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT"},
		"/style.css":                {200, publicFolder["public/style.css"], "Content-Encoding: gzip"},
		"/assets/app-1a2b.js":       {200, "let x = 1", "Cache-Control: public, max-age=31536000, immutable"},
		"/assets/":                  {404, "<h1>lost</h1>", ""},
		"/.env":                     {404, "<h1>lost</h1>", ""},
		"/.git/config":              {404, "<h1>lost</h1>", ""},
		"/.well-known/security.txt": {200, "Contact: a@example.com", "Content-Type: text/plain; charset=utf-8"},
		"/README.md":                {404, "<h1>lost</h1>", ""},
	} {
		status, body, header := get(t, address+path)
		if status != want.status || body != want.body {
			t.Errorf("%s: status %d, %q; want %d, %q", path, status, body, want.status, want.body)
		}
		if key, value, ok := strings.Cut(want.header, ": "); ok && header.Get(key) != value {
			t.Errorf("%s: %s %q, want %q", path, key, header.Get(key), value)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func TestStaticSinglePageApplication(t *testing.T) {
	address, cmd := startServer(t, contextOf(t, staticOptions(t, map[string]any{"spa": true, "gzip": false})))
	defer cmd.Process.Kill()
	if status, body, _ := get(t, address+"/users/7"); status != 200 || body != "<h1>home</h1>" {
		t.Errorf("status %d, %q", status, body)
	}
	if _, _, header := get(t, address+"/style.css"); header.Get("Content-Encoding") != "" {
		t.Error("gzip is off")
	}
}

// TestStaticIsTheSameEverywhere proves that neither folder, umask nor time is a
// part of a context.
func TestStaticIsTheSameEverywhere(t *testing.T) {
	first := staticOptions(t, nil)
	one := treeOf(t, contextOf(t, first).Dir)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	second := staticOptions(t, nil)
	if a, b := digestOf(t, t.Context(), openSource(t, first)), digestOf(t, t.Context(), openSource(t, second)); a != b {
		t.Errorf("input digests %s and %s", a, b)
	}
	other := treeOf(t, contextOf(t, second).Dir)
	if !maps.Equal(one, other) {
		for name := range one {
			if one[name] != other[name] {
				t.Errorf("%s differs", name)
			}
		}
	}
	for name := range one {
		if strings.Contains(name, ".env") || strings.Contains(name, ".git") {
			t.Errorf("%s is in the context", name)
		}
	}
}

func TestStaticInput(t *testing.T) {
	base := staticOptions(t, nil)
	before := digestOf(t, t.Context(), openSource(t, base))
	for name, test := range map[string]struct {
		change func(o *Options)
		same   bool
	}{
		"nothing":          {func(*Options) {}, true},
		"a hidden file":    {func(o *Options) { write(t, o.App.ProjectRoot, map[string]string{"public/.env": "other"}) }, true},
		"a file elsewhere": {func(o *Options) { write(t, o.App.ProjectRoot, map[string]string{"README.md": "other"}) }, true},
		"a file is edited": {func(o *Options) { write(t, o.App.ProjectRoot, map[string]string{"public/index.html": "<h1>HOME</h1>"}) }, false},
		"a file is added":  {func(o *Options) { write(t, o.App.ProjectRoot, map[string]string{"public/new.html": ""}) }, false},
		"a setting":        {func(o *Options) { o.App.Image.Buildable.Settings = map[string]any{"port": 9000} }, false},
		"the Go toolchain": {func(o *Options) { o.App.Image.Buildable.Settings = map[string]any{"goImage": "example.com/go:1"} }, false},
		"another time":     {func(o *Options) { o.Created = time.Unix(1, 0) }, false},
		"several platforms": {func(o *Options) {
			o.Platforms = append(o.Platforms, ocispec.Platform{OS: "linux", Architecture: "arm"})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := staticOptions(t, nil)
			test.change(&o)
			if after := digestOf(t, t.Context(), openSource(t, o)); (after == before) != test.same {
				t.Errorf("same digest: %t, want %t", after == before, test.same)
			}
		})
	}
}

func TestStaticRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		settings map[string]any
		change   func(t *testing.T, root string)
		want     string
	}{
		"no folder": {nil, func(t *testing.T, root string) { removeAll(t, root, "public") }, "image.buildable.folder: public is not a folder in the project"},
		"nothing in it": {nil, func(t *testing.T, root string) {
			removeAll(t, root, "public")
			write(t, root, map[string]string{"public/.x": ""})
		}, "public has no files to serve"},
		"no page for spa":  {map[string]any{"spa": true}, func(t *testing.T, root string) { removeAll(t, root, "public/index.html") }, "settings.spa: public has no index.html"},
		"no page for 404":  {map[string]any{"notFound": "nope.html"}, func(*testing.T, string) {}, "settings.notFound: public has no nope.html"},
		"hides the health": {nil, func(t *testing.T, root string) { write(t, root, map[string]string{"public/healthz": ""}) }, "public/healthz would hide"},
		"a link": {nil, func(t *testing.T, root string) {
			if err := os.Symlink("/etc/passwd", filepath.Join(root, "public/users.txt")); err != nil {
				t.Fatal(err)
			}
		}, "public/users.txt is a symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			o := staticOptions(t, test.settings)
			test.change(t, o.App.ProjectRoot)
			_, _, err := openSource(t, o).Inputs(t.Context())
			if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(fmt.Sprint(err), test.want) {
				t.Errorf("status %d, %v; want %q", protocol.ExitCode(err), err, test.want)
			}
		})
	}
}

func removeAll(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// TestStaticChangeDuringBuild proves that no file goes into an image under the
// ETag of another content.
func TestStaticChangeDuringBuild(t *testing.T) {
	o := staticOptions(t, nil)
	s := openSource(t, o)
	digestOf(t, t.Context(), s)
	write(t, o.App.ProjectRoot, map[string]string{"public/index.html": "changed"})
	_, err := s.Context(t.Context(), t.TempDir())
	if protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), "index.html changed") {
		t.Errorf("status %d, %v", protocol.ExitCode(err), err)
	}
}

// TestStaticWithoutGo proves that without a go command the Dockerfile compiles.
func TestStaticWithoutGo(t *testing.T) {
	o := staticOptions(t, nil)
	t.Setenv("PATH", t.TempDir())
	c := contextOf(t, o)
	for _, want := range []string{"FROM --platform=$BUILDPLATFORM " + goImage + " AS server\n", "COPY --from=server /staticserver /app/staticserver\n"} {
		if !strings.Contains(string(c.Text), want) {
			t.Errorf("the Dockerfile has no %q:\n%s", want, c.Text)
		}
	}
	if tree := treeOf(t, c.Dir); tree["server/main.go"] == "" || tree["server/go.mod"] == "" {
		t.Error("no source of the server in the context")
	}
}
