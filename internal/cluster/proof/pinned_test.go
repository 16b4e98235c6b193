package proof

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// objectsOf is an object for each image.
func objectsOf(t *testing.T, images ...string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for _, image := range images {
		objects, err := manifest.Parse("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: app, image: \"" + image + "\"}]}\n")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, objects...)
	}
	return all
}

// Of an app without an image, what its chart pins is proven, and nothing else.
func TestProvenWithoutAnImage(t *testing.T) {
	const redis, exporter = "127.0.0.1:1/charts/redis", "127.0.0.1:1/charts/exporter"
	for _, c := range []struct {
		name    string
		objects []string
		pods    []*corev1.Pod
		proven  bool
		fails   bool
	}{
		{"nothing is pinned", []string{redis + ":7"}, []*corev1.Pod{pod(redis+":7", redis+"@"+wrong)}, true, false},
		{"one is", []string{redis + ":7@" + right, exporter + ":1"}, []*corev1.Pod{pod(redis+":7@"+right, redis+"@"+right), pod(exporter+":1", exporter+"@"+wrong)}, true, false},
		{"two of one repository", []string{redis + "@" + right, redis + "@" + wrong}, []*corev1.Pod{pod(redis+"@"+right, redis+"@"+right), pod(redis+"@"+wrong, redis+"@"+wrong)}, true, false},
		{"one of them by tag only", []string{redis + "@" + right, redis + ":6"}, []*corev1.Pod{pod(redis+"@"+right, redis+"@"+right), pod(redis+":6", redis+"@"+wrong)}, true, false},
		{"another runs", []string{redis + "@" + right}, []*corev1.Pod{pod(redis+":7", redis+"@"+wrong)}, false, true},
		{"it has not started", []string{redis + "@" + right}, []*corev1.Pod{pod(redis+"@"+right, "")}, false, false},
		{"no pods", []string{redis + "@" + right}, nil, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := NewProver("cache", protocol.ImageRef{})
			proven, err := p.Proven(t.Context(), Objects{Applied: objectsOf(t, c.objects...)}, []rollout.Snapshot{{Current: c.pods}})
			if proven != c.proven || (err != nil) != c.fails {
				t.Errorf("proven %v, %v", proven, err)
			}
		})
	}
}

// The registry knows both images, so that the other one is surely another.
func TestAnotherOfAPinnedRepository(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	repository := strings.TrimPrefix(server.URL, "http://") + "/fleet/operator"
	pinned, other := pushImage(t, strings.TrimPrefix(server.URL, "http://")), pushImage(t, strings.TrimPrefix(server.URL, "http://"))
	for digest, fails := range map[string]bool{pinned: false, other: true} {
		p := NewProver("cache", protocol.ImageRef{})
		runs := []rollout.Snapshot{{Current: []*corev1.Pod{pod(repository+":1", repository+"@"+digest)}}}
		proven, err := p.Proven(t.Context(), Objects{Applied: objectsOf(t, repository+"@"+pinned)}, runs)
		if proven == fails || (err != nil) != fails || fails && !strings.Contains(err.Error(), other) {
			t.Errorf("%s runs: proven %v, %v", digest, proven, err)
		}
	}
}

func TestLoose(t *testing.T) {
	got := Loose(objectsOf(t, "b:1", "a@"+right, "b:1", "a:2"))
	if want := []string{"a:2", "b:1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
