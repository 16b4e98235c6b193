package daemonless

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	inprocess "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// countingRegistry is a registry that counts the blobs that are downloaded.
func countingRegistry(t *testing.T) (host string, blobs *atomic.Int32) {
	t.Helper()
	inner, blobs := inprocess.New(inprocess.Logger(log.New(io.Discard, "", 0))), &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:") {
			blobs.Add(1)
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), blobs
}

// builderFor is a builder of a topology that pushes to a registry.
func builderFor(t *testing.T, url string) builder {
	t.Helper()
	env := capability.Environment{Cache: t.TempDir(), Progress: func(protocol.Event) {}}
	env.Topology.OCIRegistry = &protocol.Provider{Adapter: "oci", URL: url}
	b, err := New(nil)(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	return builder{b, env.Cache}
}

func TestBaseStaysWhereTheImageGoes(t *testing.T) {
	host, blobs := countingRegistry(t)
	ref, err := name.ParseReference(host + "/library/base:1")
	if err != nil {
		t.Fatal(err)
	}
	base := baseImage(t, "amd64")
	if err := remote.Write(ref, base); err != nil {
		t.Fatal(err)
	}
	layers, err := base.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for text, test := range map[string]struct {
		dockerfile, destination string
		elsewhere               int
		downloads               int32
	}{
		"linked":              {"COPY --link a /x\nLABEL a=b", host + "/apps", len(layers), 1},
		"looks at the base":   {"COPY a /x", host, len(layers), 1 + int32(len(layers))},
		"another destination": {"COPY --link a /x", "registry.example.com/apps", 0, 1 + int32(len(layers))},
	} {
		t.Run(text, func(t *testing.T) {
			app := project(t, "FROM "+ref.Name()+"\n"+test.dockerfile, map[string]string{"a": "A"})
			b := builderFor(t, test.destination)
			before := blobs.Load()
			image, err := b.BuildImage(t.Context(), app)
			if err != nil {
				t.Fatal(err)
			}
			if got := blobs.Load() - before; got != test.downloads {
				t.Errorf("%d blobs were downloaded, want %d", got, test.downloads)
			}
			places, err := ocilayout.Elsewhere(image.Path)
			if err != nil {
				t.Fatal(err)
			}
			if len(places) != test.elsewhere {
				t.Errorf("elsewhere: %v, want %d layers", places, test.elsewhere)
			}
			for _, l := range layers[:test.elsewhere] {
				sum, err := l.Digest()
				if err != nil {
					t.Fatal(err)
				}
				if got, want := places[digest.Digest(sum.String())], (ocilayout.Place{Registry: host, Repository: "library/base", Insecure: true}); got != want {
					t.Errorf("%s is said to be at %+v, want %+v", sum, got, want)
				}
			}
			again, err := b.BuildImage(t.Context(), app)
			if err != nil || !again.Unchanged {
				t.Errorf("built again: %+v, %v", again, err)
			}
		})
	}
}
