package edge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"

	chartfile "github.com/nationtech/harmony/internal/chart/file"
	"github.com/nationtech/harmony/internal/cluster/devices/devicestest"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	target       = "shops"
	appNamespace = "fleet"
)

// Two images and the place of one.
var (
	imageOne = "sha256:" + strings.Repeat("1", 64)
	imageTwo = "sha256:" + strings.Repeat("2", 64)
)

const template = `apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: x}}
  template:
    metadata: {labels: {app: x}}
    spec: {containers: [{name: app, image: {{ .Values.image }}}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: {{ .Release.Namespace }}}
data: {kubernetes: {{ .Capabilities.KubeVersion.Version }}}
`

// world is an app, its chart, a registry and an edgeDevice target.
type world struct {
	t         *testing.T
	host      string
	topology  protocol.Topology
	edge      *protocol.EdgeDevice
	app       protocol.AppSpec
	image     protocol.ImageRef
	templates map[string]string
	crds      map[string]string
	dryRun    bool
	warnings  []string

	archives map[string]protocol.ChartRef
}

func newWorld(t *testing.T) *world {
	t.Helper()
	server := httptest.NewServer(registry.New())
	t.Cleanup(server.Close)
	w := &world{
		t: t, host: strings.TrimPrefix(server.URL, "http://"), templates: map[string]string{"app.yaml": template},
		edge:     &protocol.EdgeDevice{Group: "shops", Namespace: appNamespace, KubeVersion: "1.33.0", Reports: &protocol.DeviceReports{}},
		app:      protocol.AppSpec{Metadata: protocol.Metadata{Name: "app", Version: "1.0.0"}, Targets: map[string]protocol.TargetValues{target: {Values: map[string]any{"replicas": float64(2)}}}},
		archives: map[string]protocol.ChartRef{},
	}
	w.image = protocol.ImageRef{Metadata: w.app.Metadata, Registry: w.host, Repository: "app", Tag: "1.0.0", Digest: imageOne, Location: protocol.InRegistry}
	w.topology = protocol.Topology{
		Metadata: protocol.Metadata{Name: "ci"}, OCIRegistry: &protocol.Provider{Adapter: "oci", URL: w.host + "/fleet"},
		Targets: map[string]protocol.Target{target: {EdgeDevice: w.edge}, "cloud": {InCluster: &protocol.InCluster{Namespace: "n"}}},
	}
	return w
}

// serve has the world use another registry.
func (w *world) serve(handler http.Handler) {
	server := httptest.NewServer(handler)
	w.t.Cleanup(server.Close)
	w.host = strings.TrimPrefix(server.URL, "http://")
	w.image.Registry, w.topology.OCIRegistry.URL = w.host, w.host+"/fleet"
}

// chart packages the chart once for the same content: an archive holds the time.
func (w *world) chart() protocol.ChartRef {
	w.t.Helper()
	c := &chart.Chart{
		Metadata: &chart.Metadata{APIVersion: "v2", Name: "app", Version: "1.0.0"},
		Values:   map[string]any{"image": w.image.String(), "replicas": 1},
		Raw:      []*chart.File{{Name: "values.yaml", Data: []byte("image: " + w.image.String() + "\nreplicas: 1\n")}},
	}
	content := w.image.String()
	for _, name := range slices.Sorted(maps.Keys(w.templates)) {
		c.Templates = append(c.Templates, &chart.File{Name: "templates/" + name, Data: []byte(w.templates[name])})
		content += name + w.templates[name]
	}
	for _, name := range slices.Sorted(maps.Keys(w.crds)) {
		c.Files = append(c.Files, &chart.File{Name: "crds/" + name, Data: []byte(w.crds[name])})
		content += name + w.crds[name]
	}
	if ref, ok := w.archives[content]; ok {
		return ref
	}
	path, err := chartutil.Save(c, w.t.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	archive, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256(archive)
	w.archives[content] = protocol.ChartRef{
		Metadata: w.app.Metadata, Path: path, Chart: "app", ChartVersion: w.app.Version, Digest: "sha256:" + hex.EncodeToString(sum[:]), Image: protocol.ImagePlaces{{Value: "image"}},
	}
	return w.archives[content]
}

// publishChart pushes the chart, for devices to pull.
func (w *world) publishChart() {
	w.t.Helper()
	ref := w.chart()
	archive, err := os.ReadFile(ref.Path)
	if err != nil {
		w.t.Fatal(err)
	}
	image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), static.NewLayer(archive, chartfile.Layer))
	if err != nil {
		w.t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		w.t.Fatal(err)
	}
	w.push("charts/app:1.0.0", image)
	for content, one := range w.archives {
		if one.Path == ref.Path {
			one.Path, one.URL, one.Digest, one.Insecure = "", "oci://"+w.host+"/charts/app", digest.String(), true
			w.archives[content] = one
		}
	}
}

func (w *world) adapter() *adapter {
	return &adapter{env: capability.Environment{Topology: w.topology, DryRun: w.dryRun, Progress: func(e protocol.Event) {
		if e.Phase == "warning" {
			w.warnings = append(w.warnings, e.Message)
		}
		w.t.Logf("%s %d/%d %s", e.Phase, e.Current, e.Total, e.Message)
	}}}
}

func (w *world) try() (protocol.DeployResult, error) {
	w.t.Helper()
	return w.adapter().Deploy(context.WithoutCancel(w.t.Context()), w.app, target, w.image, w.chart())
}

// deploy deploys and fails the test unless it comes to the outcome.
func (w *world) deploy(want protocol.Outcome) protocol.DeployResult {
	w.t.Helper()
	result, err := w.try()
	if err != nil {
		w.t.Fatalf("%v\nhint: %s", err, protocol.HintOf(err))
	}
	if result.Outcome != want {
		w.t.Fatalf("outcome %s, want %s: %+v", result.Outcome, want, result.Published)
	}
	return result
}

// next is the next version of the app, with another image.
func (w *world) next(version, digest string) {
	w.app.Version, w.image.Version, w.image.Tag, w.image.Digest = version, version, version, digest
}

// report is what a device says of a state.
func (w *world) report(device, state, revision, message string) {
	w.t.Helper()
	devicestest.Report(w.t, w.host+"/fleet/edge-reports/groups/shops/app:"+device, state, revision, message)
}

// reportWith is what a device that is ready says of a state, with further annotations.
func (w *world) reportWith(device, revision string, more map[string]string) {
	w.t.Helper()
	devicestest.Push(w.t, w.host+"/fleet/edge-reports/groups/shops/app:"+device, devicestest.Image("ready", revision, devicestest.Time, more))
}

func (w *world) push(reference string, image v1.Image) {
	w.t.Helper()
	devicestest.Push(w.t, w.host+"/"+reference, image)
}

// pull is the artifact under a tag of the state's repository.
func (w *world) pull(tag string) v1.Image {
	w.t.Helper()
	ref, err := name.ParseReference(w.host + "/fleet/edge/groups/shops/app:" + tag)
	if err != nil {
		w.t.Fatal(err)
	}
	image, err := remote.Image(ref)
	if err != nil {
		w.t.Fatal(err)
	}
	return image
}

// file is a file of the state that devices are told.
func (w *world) file(name string) string {
	w.t.Helper()
	files, err := unpack(w.pull("latest"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range files {
		if f.name == name {
			return string(f.content)
		}
	}
	w.t.Fatalf("the state has no %s", name)
	return ""
}
