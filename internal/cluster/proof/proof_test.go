package proof

import (
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/internal/cluster/rollout"
	"github.com/nationtech/harmony/pkg/protocol"
)

var (
	right = "sha256:" + strings.Repeat("a", 64)
	wrong = "sha256:" + strings.Repeat("b", 64)
	image = protocol.ImageRef{Registry: "localhost:5000", Repository: "fleet/operator", Tag: "1.0.0", Digest: right}
)

// pod has one container of the image, which tells imageID; "" when it has not
// started.
func pod(container, imageID string) *corev1.Pod {
	p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: container}}}}
	p.Name = "pod"
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", ImageID: imageID}}
	return p
}

func TestExamine(t *testing.T) {
	for _, c := range []struct {
		name                      string
		pod                       *corev1.Pod
		running, starting, others int
	}{
		{"containerd", pod("localhost:5000/fleet/operator:1.0.0@"+right, "localhost:5000/fleet/operator@"+right), 1, 0, 0},
		{"docker", pod("localhost:5000/fleet/operator@"+right, "docker-pullable://localhost:5000/fleet/operator@"+right), 1, 0, 0},
		{"bare", pod("localhost:5000/fleet/operator", right), 1, 0, 0},
		{"another digest", pod("localhost:5000/fleet/operator:0.9.0", "localhost:5000/fleet/operator@"+wrong), 0, 0, 1},
		{"not started", pod("localhost:5000/fleet/operator@"+right, ""), 0, 1, 0},
		{"another repository", pod("localhost:5000/fleet/operator-sidecar@"+right, "x@"+right), 0, 0, 0},
		{"another registry", pod("localhost/fleet/operator@"+right, "x@"+wrong), 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Examine(image, Of(image), []rollout.Snapshot{{Current: []*corev1.Pod{c.pod}}})
			if v.Running != c.running || len(v.Starting) != c.starting || len(v.Others) != c.others {
				t.Errorf("verdict %+v, want %d running, %d starting, %d others", v, c.running, c.starting, c.others)
			}
		})
	}
}

func TestExamineSeesOldPods(t *testing.T) {
	old := pod("localhost:5000/fleet/operator:0.9.0", "localhost:5000/fleet/operator@"+wrong)
	v := Examine(image, Of(image), []rollout.Snapshot{{Old: []*corev1.Pod{old}}})
	if len(v.Others) != 1 || !strings.Contains(v.Others[0].String(), wrong) {
		t.Errorf("verdict %+v, want the old pod's digest", v)
	}
}

// Every image has to run; a further one may have been run by a hook.
func TestProverOfSeveralImages(t *testing.T) {
	of := func(name, digest string) string { return "localhost:5000/fleet/operator" + name + "@" + digest }
	all := image
	all.Images = map[string]protocol.ImageRef{"worker": {Registry: image.Registry, Repository: image.Repository + "-worker", Digest: wrong}}
	own, worker := pod(of("", right), "x@"+right), pod(of("-worker", wrong), "x@"+wrong)
	hooks := func(images ...string) func(context.Context) ([]*unstructured.Unstructured, error) {
		return func(context.Context) (objects []*unstructured.Unstructured, err error) {
			for _, image := range images {
				objects = append(objects, &unstructured.Unstructured{Object: map[string]any{
					"kind": "Job", "spec": map[string]any{"containers": []any{map[string]any{"image": image}}},
				}})
			}
			return objects, nil
		}
	}
	for name, test := range map[string]struct {
		pods   []*corev1.Pod
		hooks  func(context.Context) ([]*unstructured.Unstructured, error)
		proven bool
		fails  string
	}{
		"both run":              {[]*corev1.Pod{own, worker}, nil, true, ""},
		"one is starting":       {[]*corev1.Pod{own, pod(of("-worker", wrong), "")}, nil, false, ""},
		"one does not run":      {[]*corev1.Pod{own}, nil, false, "no container runs " + of("-worker", wrong)},
		"another digest of one": {[]*corev1.Pod{own, pod(of("-worker", right), "x@"+right)}, nil, false, "should run " + of("-worker", wrong)},
		"a hook has run one":    {[]*corev1.Pod{own}, hooks(of("-worker", wrong)), true, ""},
		"a hook of another":     {[]*corev1.Pod{own}, hooks(of("-worker", right)), false, "no container runs " + of("-worker", wrong)},
		"a hook of the app's":   {[]*corev1.Pod{worker}, hooks(of("", right)), false, "no container runs " + of("", right)},
	} {
		proven, err := NewProver("operator", all).Proven(t.Context(), Objects{Hooks: test.hooks}, []rollout.Snapshot{{Current: test.pods}})
		if proven != test.proven || (err == nil) != (test.fails == "") || err != nil && !strings.Contains(err.Error(), test.fails) {
			t.Errorf("%s: %t, %v; want %t, %q", name, proven, err, test.proven, test.fails)
		}
	}
}

func TestImagesIn(t *testing.T) {
	objects := []*unstructured.Unstructured{{Object: map[string]any{"spec": map[string]any{"containers": []any{
		map[string]any{"image": "localhost:5000/worker:1@" + right}, map[string]any{"image": "localhost:5000/loose:1"},
	}}}}}
	known := map[string]protocol.ImageRef{}
	for _, name := range []string{"worker", "loose", "absent"} {
		known[name] = protocol.ImageRef{Registry: "localhost:5000", Repository: name, Tag: "2", Digest: wrong}
	}
	if found := ImagesIn(objects, known); len(found) != 1 || found["worker"].String() != "localhost:5000/worker@"+right {
		t.Errorf("got %v", found)
	}
}

func TestLearn(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	index, err := random.Index(64, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(host + "/fleet/operator:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	multi := protocol.ImageRef{Registry: host, Repository: "fleet/operator", Digest: digest.String()}
	// The first platform's image alone, and another image.
	platforms, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	alias, other := platforms.Manifests[0].Digest.String(), pushImage(t, host)
	digests := Of(multi)
	pinned := multi.FullName() + "@" + multi.Digest
	containers := []Container{
		{Image: pinned, Digest: alias}, {Image: pinned, Digest: other}, {Image: pinned, Digest: wrong},
	}
	if err := digests.Learn(t.Context(), multi, containers); err != nil {
		t.Fatal(err)
	}

	// The other way round: the runtime tells the index of an image that was
	// pulled by its manifest, but only of a container that is pinned.
	single := multi
	single.Digest = alias
	for reference, want := range map[string]bool{single.FullName() + "@" + alias: true, single.FullName() + ":1": false} {
		learned := Of(single)
		err := learned.Learn(t.Context(), single, []Container{{Image: reference, Digest: multi.Digest}})
		if err != nil || learned[multi.Digest] != want {
			t.Errorf("%s: error %v, the index is taken for the image: %t, want %t", reference, err, learned[multi.Digest], want)
		}
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range manifest.Manifests {
		platform, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := platform.ConfigName()
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{m.Digest.String(), config.String()} {
			if !digests[d] {
				t.Errorf("%s is not taken for the image", d)
			}
		}
	}
	if len(digests) != 5 { // the index, two manifests, two configurations
		t.Errorf("%d digests, want 5", len(digests))
	}

	multi.Digest = wrong
	if err := Of(multi).Learn(t.Context(), multi, nil); err == nil {
		t.Error("an image that does not exist was found")
	}
}

// pushImage pushes another image of the repository and returns its digest.
func pushImage(t *testing.T, host string) string {
	t.Helper()
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(host + "/fleet/operator:other")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func TestImages(t *testing.T) {
	container := func(image string) []any { return []any{map[string]any{"name": "x", "image": image}} }
	objects := []*unstructured.Unstructured{
		{Object: map[string]any{"kind": "Pod", "spec": map[string]any{"containers": container("a"), "initContainers": container("b")}}},
		{Object: map[string]any{"kind": "CronJob", "spec": map[string]any{"jobTemplate": map[string]any{"spec": map[string]any{
			"template": map[string]any{"spec": map[string]any{"containers": container("c@" + right)}}}}}}},
		{Object: map[string]any{"kind": "ConfigMap", "data": map[string]any{"image": "d"}}},
		{Object: map[string]any{"kind": "Odd", "spec": map[string]any{"containers": []any{"text", map[string]any{"image": int64(1)}}}}},
	}
	images := manifest.Images(objects)
	if want := []string{"a", "b", "c@" + right}; !slices.Equal(images, want) {
		t.Errorf("images %v, want %v", images, want)
	}
	if !manifest.Uses(images, right) || manifest.Uses(images, wrong) {
		t.Error("the digest is not told from another")
	}
}

func FuzzSameRepository(f *testing.F) {
	f.Add("localhost:5000/fleet/operator:1@" + right)
	f.Add("operator")
	f.Add("@:/")
	f.Fuzz(func(t *testing.T, reference string) {
		parsed, err := protocol.ParseImageRef(reference)
		if err != nil {
			SameRepository(reference, image) // must not panic
			return
		}
		if !SameRepository(reference, parsed) {
			t.Errorf("%q is not of its own repository %q", reference, parsed.FullName())
		}
	})
}
