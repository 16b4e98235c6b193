package auth

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// readable is a registry that anybody may speak to and that asks for a token at
// the repository.
func readable(t *testing.T, scope string) (host string, tokens *atomic.Int32) {
	t.Helper()
	tokens = &atomic.Int32{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := "pull"
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			token = "push"
		}
		authorization := r.Header.Get("Authorization")
		switch {
		case r.URL.Path == "/token":
			tokens.Add(1)
			if user, password, _ := r.BasicAuth(); user != "ci" || password != secret {
				http.Error(w, "who are you?", http.StatusUnauthorized)
			} else if strings.Contains(r.URL.RawQuery, "push") {
				fmt.Fprint(w, `{"token":"push"}`)
			} else {
				fmt.Fprint(w, `{"token":"pull"}`)
			}
		case r.URL.Path == "/v2/", authorization == "Bearer push", authorization == "Bearer "+token:
			inner.ServeHTTP(w, r)
		default:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`bearer realm="http://%s/token",service="s"%s`, r.Host, scope))
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), tokens
}

// Some registries ask for credentials only where they are needed.
func TestChallengeAtTheRepository(t *testing.T) {
	for _, scope := range []string{"", `,scope="repository:team/app:pull,push"`} {
		host, tokens := readable(t, scope)
		t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(t.TempDir(), "none"))
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		config := fmt.Sprintf(`{"auths":{%q:{"username":"ci","password":%q}}}`, host, secret)
		if err := os.WriteFile(filepath.Join(os.Getenv("DOCKER_CONFIG"), "config.json"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		tag, err := name.NewTag(host + "/team/app:1")
		if err != nil {
			t.Fatal(err)
		}
		image, err := random.Image(1000, 2)
		if err != nil {
			t.Fatal(err)
		}
		guard := &Guard{Host: host}
		if err := remote.Write(tag, image, Through(guard, remote.WithContext(t.Context()))...); err != nil {
			t.Fatalf("%s: push: %v", scope, err)
		}
		if n := tokens.Load(); n > 2 {
			t.Errorf("%s: it took %d tokens to push", scope, n)
		}
		if _, err := remote.List(tag.Repository, Options(t.Context(), tag, false)...); err != nil {
			t.Errorf("%s: list: %v", scope, err)
		}
		if _, err := remote.Head(tag, Options(t.Context(), tag, false)...); err != nil {
			t.Errorf("%s: head: %v", scope, err)
		}
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		if _, err := remote.Head(tag, Options(t.Context(), tag, false)...); err == nil {
			t.Errorf("%s: read without credentials", scope)
		}
	}
}
