package server

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"
)

func TestDefaultFolder(t *testing.T) {
	t.Setenv("HOME", "/home/someone")
	for xdg, want := range map[string]Folder{
		"/state":   "/state/harmony/registry",
		"":         "/home/someone/.local/state/harmony/registry",
		"relative": "/home/someone/.local/state/harmony/registry",
	} {
		t.Setenv("XDG_STATE_HOME", xdg)
		if got, err := DefaultFolder(); err != nil || got != want {
			t.Errorf("with %q got %q, %v; want %q", xdg, got, err, want)
		}
	}
}

func TestOptionsAddress(t *testing.T) {
	for address, loopback := range map[string]bool{
		"": true, "127.0.0.1:5001": true, "127.1.2.3:0": true, "localhost:5001": true, "[::1]:5001": true,
		":5001": false, "0.0.0.0:5001": false, "[::]:5001": false, "192.168.0.1:5001": false, "localhost.example.com:5001": false,
	} {
		if _, err := (Options{Address: address}).address(); (err == nil) != loopback {
			t.Errorf("%q: got %v", address, err)
		}
		if _, err := (Options{Address: address, AllowRemote: true}).address(); err != nil {
			t.Errorf("%q: got %v", address, err)
		}
	}
}

// A web page can make its own name resolve to this machine, and ask as one that
// belongs there.
func TestLocalAnswersNoWebPage(t *testing.T) {
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for _, test := range []struct {
		host, origin  string
		local, remote int
	}{
		{"localhost:5001", "", 200, 200}, {"127.0.0.1:5001", "", 200, 200}, {"[::1]:5001", "", 200, 200}, {"LOCALHOST", "", 200, 200}, {"[::1]", "", 200, 200},
		{"localhost:5001", "http://localhost:5001", 200, 200},
		{"evil.example:5001", "http://evil.example:5001", 403, 200}, {"evil.example", "", 403, 200}, {"", "", 403, 200},
		{"localhost.evil.example:5001", "", 403, 200}, {"127.0.0.1.evil.example:5001", "", 403, 200}, {"10.0.0.1:5001", "", 403, 200},
		{"localhost:5001", "http://evil.example", 403, 403}, {"localhost:5001", "http://localhost:3000", 403, 403}, {"localhost:5001", "null", 403, 403},
		{"registry.corp:5001", "http://evil.example", 403, 403},
	} {
		for remote, want := range map[bool]int{false: test.local, true: test.remote} {
			r := httptest.NewRequest(http.MethodPost, "/v2/x/blobs/uploads/", nil)
			r.Host = test.host
			if test.origin != "" {
				r.Header.Set("Origin", test.origin)
			}
			w := httptest.NewRecorder()
			local(ok, remote).ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("host %q, origin %q, remote %t: got %d, want %d", test.host, test.origin, remote, w.Code, want)
			}
		}
	}
}

// What another process left behind is not taken for the one that runs now.
func TestReadListening(t *testing.T) {
	folder := Folder(t.TempDir())
	want := listening{PID: 7, Asked: "localhost:0", Address: "127.0.0.1:5001"}
	if err := folder.writeListening(want); err != nil {
		t.Fatal(err)
	}
	if got, err := folder.readListening(7); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := folder.readListening(8); err != nil || got != (listening{}) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := os.WriteFile(folder.address(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := folder.readListening(7); err != nil || got != (listening{}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestLogTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	file, tail, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := tail.read(); !strings.HasPrefix(got, "nothing") {
		t.Errorf("got %q", got)
	}
	if _, err := file.WriteString(strings.Repeat("old\n", 300_000)); err != nil {
		t.Fatal(err)
	}
	file.Close()
	if file, tail, err = openLog(path); err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := os.Stat(path + ".old"); err != nil {
		t.Errorf("a large log is not put aside: %v", err)
	}
	if _, err := file.WriteString(strings.Repeat("before\n", 30) + "why\x1b[31m not\n"); err != nil {
		t.Fatal(err)
	}
	got := strings.Split(tail.read(), "\n")
	if len(got) != tailLines || got[len(got)-1] != "why[31m not" {
		t.Errorf("got %q", got)
	}
}

// The log is for trouble, not for every question whether a tag is there.
func TestLogTo(t *testing.T) {
	var log bytes.Buffer
	logTo(&log)
	defer logTo(os.Stderr)
	handler, err := NewHandler(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/v2/", "/v2/a/manifests/none", "/v2/a/blobs/sha256:" + strings.Repeat("0", 64)} {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodHead, path, nil))
	}
	if log.Len() != 0 {
		t.Errorf("logged %s", &log)
	}
	logrus.WithError(errors.New("disk full")).Error("trouble")
	if !strings.Contains(log.String(), "disk full") {
		t.Errorf("logged %s", &log)
	}
}

func TestNewHandlerTellsBadStorage(t *testing.T) {
	c := configure("")
	c.Storage["filesystem"]["maxthreads"] = "many"
	if _, err := newHandler(t.Context(), c); err == nil || !strings.Contains(err.Error(), "maxthreads") {
		t.Errorf("got %v", err)
	}
}
