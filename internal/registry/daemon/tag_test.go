package daemon

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A colon before a slash is that of the registry's port.
func TestTag(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/tag") {
			got = r.URL.Query().Get("repo") + " " + r.URL.Query().Get("tag")
			w.WriteHeader(http.StatusCreated)
			return
		}
		w.Header().Set("Api-Version", "1.47")
	}))
	defer server.Close()
	t.Setenv("DOCKER_HOST", "tcp://"+server.Listener.Addr().String())
	client, err := Connect(t.Context(), func(name string) string {
		return map[string]string{"DOCKER_HOST": "tcp://" + server.Listener.Addr().String()}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for name, want := range map[string]string{"app:1": "app 1", "host:5000/app:1": "host:5000/app 1", "host:5000/app": "host:5000/app ", "host/team/app:1.4.0-rc.1": "host/team/app 1.4.0-rc.1"} {
		if err := client.Tag(t.Context(), "sha256:1", name); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, want)
		}
	}
}
