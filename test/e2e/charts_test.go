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
	"k8s.io/client-go/tools/clientcmd"

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

// vendor publishes charts of others with helm, as their vendors would.
type vendor struct {
	*project
	dir string
	// registry and repository are the addresses that it publishes to, and served the
	// folder of the latter.
	registry, repository, served string
	image                        string
}

func (p *project) newVendor(image string) vendor {
	p.t.Helper()
	v := vendor{project: p, dir: p.t.TempDir(), served: p.t.TempDir(), image: image}
	v.registry = "oci://" + clustertest.Registry(p.t) + "/" + p.name + "/vendor"
	server := httptest.NewServer(http.FileServer(http.Dir(v.served)))
	p.t.Cleanup(server.Close)
	v.repository = server.URL
	return v
}

// chart writes a chart, and returns its folder.
func (v vendor) chart(name, version string) string {
	v.t.Helper()
	folder := filepath.Join(v.dir, name)
	if err := os.MkdirAll(filepath.Join(folder, "templates"), 0o755); err != nil {
		v.t.Fatal(err)
	}
	files := map[string]string{"Chart.yaml": fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\nappVersion: \"1.0\"\n", name, version)}
	for file, text := range serverChart {
		files[file] = strings.Replace(text, "repository: none", "repository: "+v.image, 1)
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			v.t.Fatal(err)
		}
	}
	return folder
}

// push publishes a chart in the registry.
func (v vendor) push(name, version string) {
	v.t.Helper()
	v.must("helm", "package", v.chart(name, version), "--destination", v.dir)
	v.must("helm", "push", "--plain-http", filepath.Join(v.dir, name+"-"+version+".tgz"), v.registry)
}

// serve publishes a chart in the repository.
func (v vendor) serve(name, version string, flags ...string) {
	v.t.Helper()
	v.must("helm", append([]string{"package", v.chart(name, version), "--destination", v.served}, flags...)...)
	v.must("helm", "repo", "index", v.served)
}

// keys makes a key of the vendor's. The project gets the public part; the file with the
// secret one is returned.
func (v vendor) keys() string {
	v.t.Helper()
	key, err := openpgp.NewEntity("Vendor", "", "vendor@example.com", nil)
	if err != nil {
		v.t.Fatal(err)
	}
	var secret, public strings.Builder
	if err := key.SerializePrivate(&secret, nil); err != nil {
		v.t.Fatal(err)
	}
	if err := key.Serialize(&public); err != nil {
		v.t.Fatal(err)
	}
	ring := filepath.Join(v.dir, "secret.gpg")
	if err := os.WriteFile(ring, []byte(secret.String()), 0o600); err != nil {
		v.t.Fatal(err)
	}
	v.write("keys/vendor.gpg", []byte(public.String()))
	return ring
}

// Charts of others go to two targets, checked: one of a registry, and a signed one of a
// repository, which depends on it.
func TestChartsOfOthers(t *testing.T) {
	p := newFolder(t)
	image := clustertest.Push(t, p.name+"/server", "1.0")
	v := p.newVendor(image.FullName())
	ring := v.keys()
	v.push("store", "3.2.1")
	v.serve("front", "3.2.1", "--sign", "--key", "Vendor", "--keyring", ring)
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
`, v.repository, v.registry+"/store")))
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
	// harmony diff finds the published chart by itself, as the documents of a pipe tell it.
	kubeconfig, err := clientcmd.LoadFromFile(p.cluster.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	p.env = append(p.env, "HARMONY_PRODUCTION_CONTEXT="+kubeconfig.CurrentContext)
	p.rewrite("harmony.yaml", "{replicas: 2}", "{replicas: 3}")
	piped := p.run("sh", "-c", "harmony publish store --topology ci --version 1.0.0 </dev/null | harmony diff --topology ci --target production --exit-code")
	plain := p.run("harmony", "diff", "store", "--topology", "ci", "--target", "production", "--version", "1.0.0", "--exit-code")
	if plain.code != 1 || piped.code != 1 || plain.stdout != piped.stdout || !strings.Contains(plain.stdout, "replicas: 3") {
		t.Errorf("exit status %d, in a pipe %d\n%s%s\nin a pipe:\n%s%s", plain.code, piped.code, plain.stdout, plain.stderr, piped.stdout, piped.stderr)
	}
	p.rewrite("harmony.yaml", "{replicas: 3}", "{replicas: 2}")
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
