package prune

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/internal/registry/server"
	"github.com/nationtech/harmony/pkg/protocol"
)

const robot, secret = "robot$fleet+ci", "s3cret"

// harbor is a stand-in: a real registry with Harbor's way to ask for a token and
// its list of artifacts in front, as its API 2.0 documents them.
type harbor struct {
	registry http.Handler
	listed   []artifact
	refuse   bool
	asked    []string
}

func (h *harbor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	known := user == robot && password == secret
	switch {
	case strings.HasPrefix(r.URL.Path, "/service/token"):
		if !known {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"token":"t"}`)
	case strings.HasPrefix(r.URL.Path, "/api/v2.0/"):
		h.asked = append(h.asked, r.URL.EscapedPath())
		if !known || h.refuse {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"errors":[{"code":"FORBIDDEN","message":"forbidden"}]}`)
			return
		}
		size, _ := strconv.Atoi(r.URL.Query().Get("page_size"))
		page, _ := strconv.Atoi(r.URL.Query().Get("page"))
		from := min((page-1)*size, len(h.listed))
		_ = json.NewEncoder(w).Encode(h.listed[from:min(from+size, len(h.listed))])
	case r.Header.Get("Authorization") != "Bearer t":
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/service/token",service="harbor-registry"`, r.Host))
		w.WriteHeader(http.StatusUnauthorized)
	default:
		h.registry.ServeHTTP(w, r)
	}
}

// In Harbor what no tag names is found and removed, when it is old enough for a
// push not to be under way and nothing uses it.
func TestUntaggedInHarbor(t *testing.T) {
	handler, err := server.NewHandler(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := &harbor{registry: handler}
	server := httptest.NewServer(h)
	defer server.Close()
	t.Setenv("HARMONY_REGISTRY_USERNAME", robot)
	t.Setenv("HARMONY_REGISTRY_PASSWORD", secret)
	host := strings.TrimPrefix(server.URL, "http://")
	t.Setenv("HARMONY_REGISTRY", host)
	r, repository := &Registry{}, host+"/fleet/apps/operator"
	put := func(age time.Duration) string {
		t.Helper()
		image, err := random.Image(100, 1)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		ref, err := name.NewDigest(repository + "@" + sum.String())
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, image, auth.Through(r.guard(ref.Context()))...); err != nil {
			t.Fatal(err)
		}
		h.listed = append(h.listed, artifact{Digest: sum.String(), PushTime: now.Add(-age)})
		return sum.String()
	}
	for range harborPage - 2 { // more than a page
		h.listed = append(h.listed, artifact{Digest: digest(len(h.listed) + 1), PushTime: now, Tags: make([]struct {
			Name string `json:"name"`
		}, 1)})
	}
	old, young, used := put(25*time.Hour), put(23*time.Hour), put(25*time.Hour)
	uses := NewUses()
	uses.add("pod a/x", "image: "+repository+"@"+used)
	entries, err := Plan(t.Context(), r, uses, []Repository{{Name: repository}}, Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{old: "no tag names it", young: "not old enough", used: "used by pod a/x"}
	for _, e := range entries {
		if want := reasons[e.Digest]; e.Reason != want || e.Remove != (e.Digest == old) || e.Tag != "" {
			t.Errorf("%+v, want the reason %q", e, want)
		}
		delete(reasons, e.Digest)
	}
	if len(reasons) > 0 {
		t.Errorf("not listed: %v", reasons)
	}
	if want := "/api/v2.0/projects/fleet/repositories/apps%252Foperator/artifacts"; len(h.asked) != 2 || h.asked[0] != want {
		t.Errorf("asked for %v, want two pages of %s", h.asked, want)
	}
	if n, err := Remove(t.Context(), r, entries); n != 1 || err != nil {
		t.Errorf("%d removed, %v", n, err)
	}
	for sum, want := range map[string]bool{old: false, young: true, used: true} {
		ref, err := name.NewDigest(repository + "@" + sum)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := remote.Head(ref, auth.Through(r.guard(ref.Context()))...); (err == nil) != want {
			t.Errorf("%s: %v", sum, err)
		}
	}

	h.refuse = true
	_, err = Plan(t.Context(), r, uses, []Repository{{Name: repository}}, Options{Now: now})
	if err == nil || !strings.Contains(err.Error(), "that have no tag") || !strings.Contains(protocol.HintOf(err), "permission to list artifacts") {
		t.Errorf("not allowed: got %v", err)
	}
	h.refuse, h.listed = false, []artifact{{Digest: "sha256:../x"}}
	if _, err = Plan(t.Context(), r, uses, []Repository{{Name: repository}}, Options{Now: now}); err == nil {
		t.Error("a digest that is none was taken")
	}
}
