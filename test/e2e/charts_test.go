package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/clustertest"
)

// serverChart is a chart of others, with an image that is named by repository and tag.
var serverChart = map[string]string{
	"values.yaml": "replicas: 1\nimage: {repository: none, tag: \"\"}\n",
	"templates/all.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      containers:
        - {name: server, image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec:
  selector: {app: {{ .Release.Name }}}
  ports: [{port: 8080}]
`,
}

// publishCharts publishes two charts as their vendors would, with helm: one in a
// registry, and a signed one in a repository. It returns their addresses.
func (p *project) publishCharts(image string) (registry, repository string) {
	p.t.Helper()
	dir, served := p.t.TempDir(), p.t.TempDir()
	key, err := openpgp.NewEntity("Vendor", "", "vendor@example.com", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	var secret, public strings.Builder
	if err := key.SerializePrivate(&secret, nil); err != nil {
		p.t.Fatal(err)
	}
	if err := key.Serialize(&public); err != nil {
		p.t.Fatal(err)
	}
	ring := filepath.Join(dir, "secret.gpg")
	if err := os.WriteFile(ring, []byte(secret.String()), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.write("keys/vendor.gpg", []byte(public.String()))
	for _, name := range []string{"store", "front"} {
		files := map[string]string{"Chart.yaml": fmt.Sprintf("apiVersion: v2\nname: %s\nversion: 3.2.1\nappVersion: \"1.0\"\n", name)}
		for file, text := range serverChart {
			files[file] = strings.Replace(text, "repository: none", "repository: "+image, 1)
		}
		for file, text := range files {
			path := filepath.Join(dir, name, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				p.t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				p.t.Fatal(err)
			}
		}
	}
	p.must("helm", "package", filepath.Join(dir, "store"), "--destination", dir)
	registry = "oci://" + clustertest.Registry(p.t) + "/" + p.name + "/vendor"
	p.must("helm", "push", "--plain-http", filepath.Join(dir, "store-3.2.1.tgz"), registry)
	p.must("helm", "package", filepath.Join(dir, "front"), "--destination", served, "--sign", "--key", "Vendor", "--keyring", ring)
	p.must("helm", "repo", "index", served)
	server := httptest.NewServer(http.FileServer(http.Dir(served)))
	p.t.Cleanup(server.Close)
	return registry + "/store", server.URL
}

// Charts of others go to two targets, checked: one of a registry, and a signed one of a
// repository, which depends on it.
func TestChartsOfOthers(t *testing.T) {
	p := newFolder(t)
	image := clustertest.Push(t, p.name+"/server", "1.0")
	registry, repository := p.publishCharts(image.FullName())
	p.write("harmony.yaml", []byte(fmt.Sprintf(`apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: front}
spec:
  chart: {url: %q, name: front, version: 3.2.1, keyring: keys/vendor.gpg}
  dependsOn: [store]
  smoke: [{name: answers, http: {service: front, port: 8080}}]
---
apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: store}
spec:
  chart: {url: %q, version: 3.2.1, pinImages: true}
  targets:
    production: {values: {replicas: 2}}
  smoke: [{name: ready, rollout: {}}]
`, repository, registry)))
	if out := p.run("harmony", "release", "--all", "--version", "1.0.0"); out.code != 2 || !strings.Contains(out.stderr, "harmony.lock does not have the chart of front (front 3.2.1), store (store 3.2.1)") {
		t.Fatalf("without a lock: exit status %d\n%s", out.code, out.stderr)
	}
	p.must("harmony", "lock")
	p.must("harmony", "lock", "--check")
	first := p.must("harmony", "release", "--all", "--version", "1.0.0", "-o", "json")
	list := documents(t, first.stdout)
	if deploys, reports := only(list, "DeployResult"), only(list, "SmokeReport"); len(deploys) != 4 || len(reports) != 4 || len(only(list, "ImageRef")) > 0 {
		t.Errorf("%d deploys, %d reports\n%s%s", len(deploys), len(reports), first.stdout, first.stderr)
	}
	if !strings.Contains(first.stderr, "not proven to run, for the chart names no digest: "+image.FullName()+":1.0") {
		t.Errorf("of front nothing is proven, and that is not told:\n%s", first.stderr)
	}
	pods, err := p.cluster.Client.CoreV1().Pods(p.name+"-production").List(t.Context(), metav1.ListOptions{LabelSelector: "app=store"})
	if err != nil || len(pods.Items) != 2 || pods.Items[0].Spec.Containers[0].Image != image.FullName()+":1.0@"+image.Digest {
		t.Errorf("pods of store: %v, %v", pods, err)
	}
	// Values that name another image than the lock are refused.
	p.rewrite("harmony.yaml", "{replicas: 2}", `{replicas: 2, image: {tag: "2"}}`)
	if out := p.run("harmony", "release", "store", "--version", "1.1.0"); out.code != 2 || !strings.Contains(out.stderr, "harmony.lock does not have the image "+image.FullName()+":2") {
		t.Errorf("values with another image: exit status %d\n%s", out.code, out.stderr)
	}
	p.rewrite("harmony.yaml", `{replicas: 2, image: {tag: "2"}}`, "{replicas: 2}")
	// Another version of the release changes nothing that runs.
	second := p.must("harmony", "release", "--all", "--version", "1.1.0", "-o", "json")
	for _, d := range documents(t, second.stdout) {
		if d.Kind == "DeployResult" && d.Spec.Outcome != "unchanged" || d.Kind == "ChartRef" && !d.Spec.Unchanged {
			t.Errorf("again: %s %+v", d.Kind, d.Spec)
		}
	}
	if out := p.must("harmony", "status", "store", "--target", "staging"); !strings.Contains(out.stdout, "1.0.0") {
		t.Errorf("status:\n%s", out.stdout)
	}
	p.must("harmony", "uninstall", "--all", "--target", "production", "--yes")
}
