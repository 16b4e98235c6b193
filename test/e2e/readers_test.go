package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/nationtech/harmony/pkg/protocol"
)

// readersProject are two apps without a program, of which one is an image for
// two platforms.
const readersProject = `apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: single}
spec:
  image: {repository: single, dockerfile: {path: image/Dockerfile, context: image}, platforms: [linux/amd64]}
  chart: {path: chart, image: {value: image}}
---
apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: several}
spec:
  image: {repository: several, dockerfile: {path: image/Dockerfile, context: image}, platforms: [linux/amd64, linux/arm64]}
  chart: {path: chart, image: {value: image}}
---
apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: readers}
spec:
  containerBuilder: {adapter: daemonless}
  ociRegistry: {adapter: oci, url: %[1]s}
  helmRegistry: {adapter: oci, url: %[1]s/charts/APP}
`

const readersTemplate = `apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: 0
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      containers: [{name: app, image: {{ .Values.image | quote }}}]
`

// readersVersion has build metadata: a tag cannot hold its plus sign.
const readersVersion = "1.4.0+b.1"

// release is what was published of one app.
type release struct {
	image protocol.ImageRef
	chart protocol.ChartRef
}

// imageName is the image's name with its digest alone.
func (r release) imageName() string { return r.image.FullName() + "@" + r.image.Digest }

// published reads the last image and chart of a stream.
func published(t *testing.T, stream string) (r release) {
	t.Helper()
	for documents := protocol.NewReader(strings.NewReader(stream)); ; {
		d, err := documents.Next()
		if errors.Is(err, io.EOF) {
			return r
		}
		switch {
		case err != nil:
		case d.Kind == protocol.KindImageRef:
			r.image, err = protocol.Decode[protocol.ImageRef](d)
		case d.Kind == protocol.KindChartRef:
			r.chart, err = protocol.Decode[protocol.ChartRef](d)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// publishForReaders builds and publishes both apps.
func publishForReaders(t *testing.T) (*project, map[string]release) {
	p := newFolder(t)
	prefix := p.registry() + "/" + p.name
	p.write("image/Dockerfile", []byte("FROM scratch\nCOPY data /data\n"))
	p.write("image/data", []byte(p.name))
	p.write("chart/Chart.yaml", []byte("apiVersion: v2\nname: operator\nversion: 0.0.0\ndescription: registers devices\n"))
	p.write("chart/values.yaml", []byte("# the image\nimage: none\n"))
	p.write("chart/templates/deployment.yaml", []byte(readersTemplate))
	releases := map[string]release{}
	for _, app := range []string{"single", "several"} {
		p.write("harmony.yaml", fmt.Appendf(nil, strings.ReplaceAll(readersProject, "APP", app), prefix))
		out := p.sh("harmony build " + app + " --topology readers --version " + readersVersion + " </dev/null | harmony publish --topology readers -o json")
		r := published(t, out.stdout)
		if out.code != 0 || r.image.Location != protocol.InRegistry || r.chart.URL == "" {
			t.Fatalf("publish %s: exit status %d\n%s\n%s", app, out.code, out.stdout, out.stderr)
		}
		releases[app] = r
	}
	return p, releases
}

// registry is the registry of the test cluster.
func (p *project) registry() string {
	for _, v := range p.env {
		if registry, ok := strings.CutPrefix(v, "HARMONY_REGISTRY="); ok {
			return registry
		}
	}
	p.t.Fatal("no registry")
	return ""
}

// Everybody else who reads registries reads what was published.
func TestReaders(t *testing.T) {
	p, releases := publishForReaders(t)
	for app, r := range releases {
		p.readByCrane(r)
		p.readBySkopeo(app, r)
		p.readByHelm(app, r)
	}
	p.readByFlux(releases["single"])
	p.readByArgo(releases["single"])
}

// readByCrane lets go-containerregistry, and crane if it is there, compare every
// blob with its digest.
func (p *project) readByCrane(r release) {
	p.t.Helper()
	ref, err := name.ParseReference(r.imageName(), name.Insecure)
	if err != nil {
		p.t.Fatal(err)
	}
	got, err := remote.Get(ref, remote.WithContext(p.t.Context()))
	if err != nil {
		p.t.Fatal(err)
	}
	if got.MediaType.IsIndex() {
		index, indexErr := got.ImageIndex()
		err = firstError(indexErr, func() error { return validate.Index(index) })
	} else {
		image, imageErr := got.Image()
		err = firstError(imageErr, func() error { return validate.Image(image) })
	}
	if err != nil {
		p.t.Errorf("%s: %v", r.imageName(), err)
	}
	if _, err := exec.LookPath("crane"); err == nil {
		p.must("crane", "validate", "--insecure", "--remote", r.imageName())
	}
}

func firstError(err error, next func() error) error {
	if err != nil {
		return err
	}
	return next()
}

// readBySkopeo inspects the image by its tag and copies all of it.
func (p *project) readBySkopeo(app string, r release) {
	p.t.Helper()
	p.needs("skopeo")
	source := "docker://" + r.image.FullName() + ":" + r.image.Tag
	var seen struct {
		Digest, Architecture, Os string
		RepoTags, Layers         []string
	}
	out := p.must("skopeo", "inspect", "--tls-verify=false", "--override-os=linux", "--override-arch=amd64", source)
	if err := json.Unmarshal([]byte(out.stdout), &seen); err != nil {
		p.t.Fatal(err)
	}
	if seen.Digest != r.image.Digest || seen.Os != "linux" || seen.Architecture != "amd64" || len(seen.Layers) != 1 {
		p.t.Errorf("skopeo inspect of %s: %+v, want digest %s", app, seen, r.image.Digest)
	}
	if app == "several" {
		p.must("skopeo", "inspect", "--tls-verify=false", "--override-os=linux", "--override-arch=arm64", source)
	}
	p.must("skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false", source, "oci:"+filepath.Join(p.dir, "copied-"+app))
	p.must("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+strings.TrimPrefix(r.chart.URL, "oci://")+"@"+r.chart.Digest, "oci:"+filepath.Join(p.dir, "copied-chart-"+app))
}

// readByHelm shows, pulls, renders and installs the chart, each from the registry.
func (p *project) readByHelm(app string, r release) {
	p.t.Helper()
	version := []string{r.chart.URL, "--version", readersVersion, "--plain-http"}
	if show := p.must("helm", append([]string{"show", "chart"}, version...)...); !strings.Contains(show.stdout, "version: "+readersVersion) {
		p.t.Errorf("helm show chart: %s", show.stdout)
	}
	if pulled := p.must("helm", append([]string{"pull", "--destination", p.t.TempDir()}, version...)...); !strings.Contains(pulled.stdout+pulled.stderr, r.chart.Digest) {
		p.t.Errorf("helm pull: %s%s, want %s", pulled.stdout, pulled.stderr, r.chart.Digest)
	}
	if rendered := p.must("helm", append([]string{"template", "reader"}, version...)...); !strings.Contains(rendered.stdout, r.image.String()) {
		p.t.Errorf("helm template has not the image %s: %s", r.image, rendered.stdout)
	}
	installed := p.must("helm", append([]string{"install", app, "--create-namespace", "--namespace", p.name + "-staging"}, version...)...)
	if !strings.Contains(installed.stdout, "STATUS: deployed") {
		p.t.Errorf("helm install: %s", installed.stdout)
	}
}

// readByFlux lets Flux's source-controller fetch the chart by its version.
func (p *project) readByFlux(r release) {
	p.t.Helper()
	p.needsAPI("ocirepositories.source.toolkit.fluxcd.io")
	namespace := p.cluster.Namespace(p.t)
	p.apply("flux.yaml", `{apiVersion: source.toolkit.fluxcd.io/v1, kind: OCIRepository, metadata: {name: reader, namespace: %s}, spec: {
  interval: 10m, url: %q, insecure: true, ref: {tag: %q},
  layerSelector: {mediaType: application/vnd.cncf.helm.chart.content.v1.tar+gzip, operation: copy}}}`,
		namespace, r.chart.URL, strings.ReplaceAll(readersVersion, "+", "_"))
	p.must("kubectl", "wait", "ocirepository/reader", "--namespace="+namespace, "--for=condition=Ready", "--timeout=60s")
	revision := p.must("kubectl", "get", "ocirepository/reader", "--namespace="+namespace, "-o=jsonpath={.status.artifact.revision}").stdout
	if !strings.HasSuffix(revision, "@"+r.chart.Digest) {
		p.t.Errorf("Flux fetched %s, want %s", revision, r.chart.Digest)
	}
}

// readByArgo lets Argo CD's repo-server resolve the chart's version, and render it.
func (p *project) readByArgo(r release) {
	p.t.Helper()
	p.needsAPI("applications.argoproj.io")
	p.apply("argo.yaml", `{apiVersion: argoproj.io/v1alpha1, kind: Application, metadata: {name: %[1]s, namespace: argocd}, spec: {
  project: default, destination: {server: %[4]q, namespace: %[1]s-production},
  source: {repoURL: %[2]q, path: ., targetRevision: %[3]q}}}`,
		p.name, r.chart.URL, strings.ReplaceAll(readersVersion, "+", "_"), p.cluster.Rest.Host)
	var status struct {
		Sync       struct{ Status, Revision string }
		Conditions []struct{ Type, Message string }
		Resources  []struct{ Kind, Name string }
	}
	read := func() bool {
		text := p.must("kubectl", "get", "application/"+p.name, "--namespace=argocd", "-o=jsonpath={.status}").stdout
		return text != "" && json.Unmarshal([]byte(text), &status) == nil && status.Sync.Revision+fmt.Sprint(status.Conditions) != "[]"
	}
	for deadline := time.Now().Add(60 * time.Second); !read(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("Argo CD has not looked at the chart within a minute: %+v", status)
		}
	}
	if status.Sync.Revision != r.chart.Digest || status.Sync.Status != "OutOfSync" || len(status.Conditions) > 0 || len(status.Resources) != 1 {
		p.t.Errorf("Argo CD read %+v, want revision %s with one Deployment", status, r.chart.Digest)
	}
}

// apply makes an object from text, until the end of the test.
func (p *project) apply(file, format string, args ...any) {
	p.t.Helper()
	p.write(file, fmt.Appendf(nil, format, args...))
	p.must("kubectl", "apply", "--filename="+file)
	p.t.Cleanup(func() {
		cmd := exec.Command("kubectl", "delete", "--timeout=30s", "--filename="+filepath.Join(p.dir, file))
		cmd.Env = p.env
		if out, err := cmd.CombinedOutput(); err != nil {
			p.t.Errorf("kubectl delete: %v\n%s", err, out)
		}
	})
}

// needs skips the test where a program is missing, which CI has to have.
func (p *project) needs(program string) {
	p.t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		p.missing(err.Error())
	}
}

// needsAPI skips the test of a cluster without a resource of these.
func (p *project) needsAPI(definition string) {
	p.t.Helper()
	if out := p.run("kubectl", "get", "crd", definition); out.code != 0 {
		p.missing(out.stderr)
	}
}

func (p *project) missing(what string) {
	p.t.Helper()
	if os.Getenv("CI") != "" {
		p.t.Fatalf("needs the test cluster of the kit: %s", what)
	}
	p.t.Skipf("needs the test cluster of the kit: %s", what)
}
