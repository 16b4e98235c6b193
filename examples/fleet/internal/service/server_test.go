package service

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestServeFinishesRunningRequests(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	listener := &watchedListener{Listener: listen(t), closed: make(chan struct{})}
	arrived, release := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		WriteJSON(w, http.StatusOK, "done")
	})
	served := make(chan error, 1)
	serving, stop := context.WithCancel(ctx)
	go func() { served <- serveOn(serving, slog.New(slog.DiscardHandler), listener, handler) }()

	answered := make(chan error, 1)
	go func() { answered <- get(ctx, "http://"+listener.Addr().String()) }()
	<-arrived
	stop()
	<-listener.closed // the shutdown has begun
	close(release)
	if err := <-answered; err != nil {
		t.Errorf("the running request was cut off: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeTellsThatAddressIsTaken(t *testing.T) {
	taken := listen(t).Addr().String()
	err := Serve(t.Context(), slog.New(slog.DiscardHandler), taken, http.NotFoundHandler())
	checkError(t, err, "address already in use")
}

func TestHealth(t *testing.T) {
	tests := []struct {
		path   string
		ready  error
		status int
		body   string
	}{
		{path: "/healthz", ready: errors.New("not yet"), status: 200, body: `"version":"1.2.3"`},
		{path: "/readyz", status: 200, body: `"status":"ready"`},
		{path: "/readyz", ready: errors.New("not yet"), status: 503, body: "not yet"},
	}
	for _, test := range tests {
		t.Run(test.path+" "+http.StatusText(test.status), func(t *testing.T) {
			mux := http.NewServeMux()
			Health(mux, "1.2.3", func(context.Context) error { return test.ready })
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, test.path, nil))
			if w.Code != test.status || !strings.Contains(w.Body.String(), test.body) {
				t.Errorf("got %d %s, want %d with %s", w.Code, w.Body, test.status, test.body)
			}
		})
	}
}

func TestReadJSON(t *testing.T) {
	tests := []struct {
		name, body string
		status     int
	}{
		{"good", `{"version": "1", "later": true} `, 200},
		{"not JSON", `version=1`, 400},
		{"cut off", `{"version": `, 400},
		{"two values", `{} {}`, 400},
		{"too large", `{"version": "` + strings.Repeat("x", MaxBody) + `"}`, 413},
		{"too much behind it", `{}` + strings.Repeat(" ", MaxBody), 413},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(test.body))
			var value struct{ Version string }
			if ok := ReadJSON(w, r, &value); ok != (test.status == 200) || w.Code != test.status {
				t.Errorf("got %t, status %d; want status %d", ok, w.Code, test.status)
			}
		})
	}
}

func get(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.ReadAll(response.Body)
	return err
}

// watchedListener tells when it is closed.
type watchedListener struct {
	net.Listener
	once   sync.Once
	closed chan struct{}
}

func (l *watchedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
