package main

import (
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// demo is a site with a page, a folder, a script with a compressed variant, a
// page for status 404, and a secret beside them that the index does not have.
func demo(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"files/index.html": "<h1>home</h1>", "files/docs/index.html": "<h1>docs</h1>", "files/app-1a2b.js": "let plain = 1",
		"files/404.html": "<h1>lost</h1>", "files/.env": "SECRET", "secret": "SECRET",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var zipped strings.Builder
	w := gzip.NewWriter(&zipped)
	if _, err := io.WriteString(w, "let zipped = 1"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "gzip"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "gzip", "app-1a2b.js"), []byte(zipped.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return &site{
		Folder: filepath.Join(dir, "files"), Zipped: filepath.Join(dir, "gzip"), NotFound: "404.html",
		Files: map[string]entry{
			"index.html":      {Type: "text/html; charset=utf-8", Tag: "home"},
			"docs/index.html": {Type: "text/html; charset=utf-8", Tag: "docs"},
			"404.html":        {Type: "text/html; charset=utf-8", Tag: "lost"},
			"app-1a2b.js":     {Type: "text/javascript; charset=utf-8", Tag: "app", Zipped: true, Immutable: true},
		},
	}
}

func TestAnswers(t *testing.T) {
	tests := map[string]struct {
		method, target string
		send           map[string]string
		change         func(*site)
		status         int
		body           string
		headers        map[string]string
	}{
		"page":                       {target: "/", status: 200, body: "<h1>home</h1>", headers: map[string]string{"Content-Type": "text/html; charset=utf-8", "ETag": `"home"`, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Last-Modified": ""}},
		"page by its name":           {target: "/index.html", status: 200, body: "<h1>home</h1>"},
		"head":                       {method: "HEAD", target: "/", status: 200, headers: map[string]string{"Content-Length": "13"}},
		"folder":                     {target: "/docs/", status: 200, body: "<h1>docs</h1>"},
		"folder without its slash":   {target: "/docs?a=b", status: 301, headers: map[string]string{"Location": "/docs/?a=b"}},
		"no redirect to a host":      {target: "//docs", status: 301, headers: map[string]string{"Location": "/docs/"}},
		"no listing":                 {target: "/files/", status: 404, body: "<h1>lost</h1>"},
		"known to the browser":       {target: "/", send: map[string]string{"If-None-Match": `"home"`}, status: 304},
		"a part":                     {target: "/app-1a2b.js", send: map[string]string{"Range": "bytes=0-2", "Accept-Encoding": "gzip"}, status: 206, body: "let"},
		"time of the release":        {target: "/", change: func(s *site) { s.Modified = 1700000000 }, status: 200, body: "<h1>home</h1>", headers: map[string]string{"Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT"}},
		"immutable":                  {target: "/app-1a2b.js", status: 200, body: "let plain = 1", headers: map[string]string{"Cache-Control": forever, "Vary": "Accept-Encoding", "Content-Encoding": ""}},
		"compressed":                 {target: "/app-1a2b.js", send: map[string]string{"Accept-Encoding": "br, gzip;q=0.5"}, status: 200, body: "let zipped = 1", headers: map[string]string{"Content-Encoding": "gzip", "ETag": `"app-gzip"`, "Vary": "Accept-Encoding"}},
		"compressed is refused":      {target: "/app-1a2b.js", send: map[string]string{"Accept-Encoding": "gzip;q=0"}, status: 200, body: "let plain = 1"},
		"missing":                    {target: "/nope", status: 404, body: "<h1>lost</h1>", headers: map[string]string{"Content-Type": "text/html; charset=utf-8"}},
		"missing without a page":     {target: "/nope", change: func(s *site) { s.NotFound = "" }, status: 404, body: "not found\n"},
		"single-page application":    {target: "/users/7", change: func(s *site) { s.Fallback = "index.html" }, status: 200, body: "<h1>home</h1>"},
		"its missing script":         {target: "/old.js", change: func(s *site) { s.Fallback = "index.html" }, status: 404, body: "<h1>lost</h1>"},
		"health":                     {target: "/healthz", status: 200, body: "ok\n"},
		"post":                       {method: "POST", target: "/", status: 405, body: "method not allowed\n", headers: map[string]string{"Allow": "GET, HEAD"}},
		"file with a dot":            {target: "/.env", status: 404, body: "<h1>lost</h1>"},
		"out of the folder":          {target: "/../secret", status: 404, body: "<h1>lost</h1>"},
		"out of the folder, encoded": {target: "/%2e%2e/secret", status: 404, body: "<h1>lost</h1>"},
		"file that went away":        {target: "/docs/", change: func(s *site) { os.RemoveAll(filepath.Join(s.Folder, "docs")) }, status: 500, body: "internal server error\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := demo(t)
			if test.change != nil {
				test.change(s)
			}
			request := httptest.NewRequestWithContext(t.Context(), test.method, "http://site"+test.target, nil)
			for key, value := range test.send {
				request.Header.Set(key, value)
			}
			recorder := httptest.NewRecorder()
			s.ServeHTTP(recorder, request)
			answer := recorder.Result()
			var body io.Reader = answer.Body
			if answer.Header.Get("Content-Encoding") == "gzip" {
				unzipped, err := gzip.NewReader(answer.Body)
				if err != nil {
					t.Fatal(err)
				}
				body = unzipped
			}
			text, err := io.ReadAll(body)
			if err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != test.status || string(text) != test.body {
				t.Errorf("status %d, %q; want %d, %q", answer.StatusCode, text, test.status, test.body)
			}
			for key, value := range test.headers {
				if got := answer.Header.Get(key); got != value {
					t.Errorf("%s: %q, want %q", key, got, value)
				}
			}
		})
	}
}

// TestGracefulStop proves that a request in progress is answered after the stop,
// and that no other is taken.
func TestGracefulStop(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begun, end := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-end
		io.WriteString(w, "late")
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listener, slow) }()
	body := make(chan string, 1)
	go func() {
		answer, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			body <- err.Error()
			return
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		body <- string(text)
	}()
	<-begun
	stop()
	deadline := time.Now().Add(10 * time.Second)
	for {
		connection, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			break
		}
		connection.Close()
		if time.Now().After(deadline) {
			t.Fatal("new connections are taken after the stop")
		}
	}
	close(end)
	if got := <-body; got != "late" {
		t.Errorf("the request in progress got %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRunRefusals(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "site.json")
	if err := os.WriteFile(bad, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"usage": nil, "no such file": {filepath.Join(t.TempDir(), "nope")}, "unexpected end": {bad},
	} {
		if err := run(t.Context(), args); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("run(%q): %v, want %q", args, err, want)
		}
	}
}
