package e2e

import (
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/clustertest"
)

// webOf is an app whose image exists.
const webOf = `apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: web}
spec:
  image: {ref: "%s", repository: %s/web}
  chart:
    workload:
      ports: [{name: http, port: 8080}]
      readinessProbe: {http: {path: /}, periodSeconds: 1}
      terminationGracePeriodSeconds: 1
  smoke: [{name: ready, rollout: {}}]
`

// TestExistingImage releases an image of somebody else's registry, copied whole, and
// then from where it is.
func TestExistingImage(t *testing.T) {
	p := newFolder(t)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	abroad := strings.TrimPrefix(server.URL, "http://") + "/org/web:1.2"
	first := p.pushWhole(abroad, "first")
	p.writeApp(fmt.Sprintf(webOf, abroad, p.name))
	released := documents(t, p.must("harmony", "release", "web", "--version", "1.4.0", "-o", "json").stdout)
	p.provenToRun(released, first)
	copied := clustertest.Registry(t) + "/" + p.name + "/web:1.4.0"
	list, err := p.remote(copied).ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if sum, err := list.Digest(); err != nil || sum.String() != first {
		t.Errorf("%s is %s, %v; not %s", copied, sum, err, first)
	}
	manifest, err := list.IndexManifest()
	if err != nil || len(manifest.Manifests) != 3 {
		t.Fatalf("%+v, %v", manifest, err)
	}
	for _, m := range manifest.Manifests {
		p.remote(strings.TrimSuffix(copied, ":1.4.0") + "@" + m.Digest.String())
	}

	second := p.pushWhole(abroad, "second")
	moved := p.run("harmony", "release", "web", "--version", "1.4.0")
	if want := "tag of image.ref " + abroad + " has moved since version 1.4.0"; moved.code != 1 || !strings.Contains(moved.stderr, want) {
		t.Errorf("exit status %d, want 1 and %q\n%s", moved.code, want, moved.stderr)
	}
	p.runsOnly(first)

	inPlace := clustertest.Registry(t) + "/" + p.name + "-abroad/web:1.2"
	if sum := p.pushWhole(inPlace, "second"); sum != second {
		t.Fatalf("%s, not %s", sum, second)
	}
	p.writeApp(strings.Replace(fmt.Sprintf(webOf, inPlace, p.name), "repository: "+p.name+"/web", "mirror: false", 1))
	released = documents(t, p.must("harmony", "release", "web", "--version", "1.5.0", "-o", "json").stdout)
	p.provenToRun(released, second)
	if images := only(released, "ImageRef"); images[len(images)-1].Spec.Repository != p.name+"-abroad/web" {
		t.Errorf("published as %+v", images)
	}
}

func (p *project) writeApp(text string) {
	p.t.Helper()
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "harmony.yaml"), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// pushWhole pushes the server for two platforms, of which the cluster runs one, and
// something that is said of it, and returns the digest.
func (p *project) pushWhole(reference, text string) string {
	p.t.Helper()
	own := clustertest.Push(p.t, p.name+"/server", text)
	server, err := p.remote(own.FullName() + "@" + own.Digest).Image()
	if err != nil {
		p.t.Fatal(err)
	}
	config, err := server.ConfigFile()
	if err != nil {
		p.t.Fatal(err)
	}
	var index v1.ImageIndex = empty.Index
	for _, platform := range []v1.Platform{{OS: "linux", Architecture: config.Architecture}, {OS: "linux", Architecture: "s390x"}, {OS: "unknown", Architecture: "unknown"}} {
		config = config.DeepCopy()
		config.OS, config.Architecture = platform.OS, platform.Architecture
		image, err := mutate.ConfigFile(server, config)
		if err != nil {
			p.t.Fatal(err)
		}
		add := mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}}
		if platform.OS == "unknown" {
			add.Annotations = map[string]string{"vnd.docker.reference.type": "attestation-manifest"}
		}
		index = mutate.AppendManifests(index, add)
	}
	tag, err := name.NewTag(reference, name.Insecure)
	if err == nil {
		err = remote.WriteIndex(tag, index, remote.WithContext(p.t.Context()))
	}
	if err != nil {
		p.t.Fatal(err)
	}
	sum, err := index.Digest()
	if err != nil {
		p.t.Fatal(err)
	}
	return sum.String()
}

func (p *project) remote(reference string) *remote.Descriptor {
	p.t.Helper()
	ref, err := name.ParseReference(reference, name.Insecure)
	if err != nil {
		p.t.Fatal(err)
	}
	got, err := remote.Get(ref, remote.WithContext(p.t.Context()))
	if err != nil {
		p.t.Fatal(err)
	}
	return got
}

// provenToRun looks at the documents of a release to two targets, and at its pods.
func (p *project) provenToRun(released []document, digest string) {
	p.t.Helper()
	deploys, reports := only(released, "DeployResult"), only(released, "SmokeReport")
	if len(deploys) != 2 || len(reports) != 2 {
		p.t.Fatalf("%d deploys, %d smoke reports", len(deploys), len(reports))
	}
	for i := range deploys {
		if string(deploys[i].Spec.Image) != digest || !reports[i].Spec.Passed {
			p.t.Errorf("%+v, passed %t; want the image %s", deploys[i].Spec, reports[i].Spec.Passed, digest)
		}
	}
	p.runsOnly(digest)
}

// runsOnly looks what the containers were made of.
func (p *project) runsOnly(digest string) {
	p.t.Helper()
	for _, target := range []string{"staging", "production"} {
		pods, err := p.cluster.Client.CoreV1().Pods(p.name+"-"+target).List(p.t.Context(), metav1.ListOptions{})
		if err != nil || len(pods.Items) == 0 {
			p.t.Fatalf("%s: %d pods, %v", target, len(pods.Items), err)
		}
		for _, pod := range pods.Items {
			if id := pod.Status.ContainerStatuses[0].ImageID; pod.DeletionTimestamp == nil && !strings.HasSuffix(id, digest) {
				p.t.Errorf("%s: %s runs %s, not %s", target, pod.Name, id, digest)
			}
		}
	}
}
