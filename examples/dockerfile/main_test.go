package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func TestHandler(t *testing.T) {
	tests := []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/", 200, "From a Dockerfile without RUN"},
		{"GET", "/healthz", 200, "ok 1.2.3"},
		{"GET", "/none", 404, ""},
		{"POST", "/", 405, ""},
	}
	handler := newHandler(os.DirFS("site"), "1.2.3")
	for _, test := range tests {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, httptest.NewRequest(test.method, test.path, nil))
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.want) {
				t.Errorf("got %d %s, want %d with %q", w.Code, w.Body, test.status, test.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	good := httptest.NewServer(newHandler(os.DirFS("site"), ""))
	defer good.Close()
	bad := httptest.NewServer(http.NotFoundHandler())
	defer bad.Close()
	tests := []struct {
		name, address, want string
	}{
		{"answers", good.Listener.Addr().String(), ""},
		{"answers with an error", bad.Listener.Addr().String(), "404"},
		{"bad address", "8080", "LISTEN_ADDRESS"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := check(t.Context(), test.address)
			if (err == nil) != (test.want == "") || (err != nil && !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
}

func TestRunRefusesBadUsage(t *testing.T) {
	tests := []struct {
		args []string
		site string
		want string
	}{
		{nil, "site", "serve or check"},
		{[]string{"start"}, "site", `"start" is neither`},
		{[]string{"serve"}, "none", "SITE"},
	}
	for _, test := range tests {
		env := func(name string) string { return map[string]string{"SITE": test.site}[name] }
		err := run(t.Context(), slog.New(slog.DiscardHandler), test.args, env)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: got error %v, want %q", test.args, err, test.want)
		}
	}
}
