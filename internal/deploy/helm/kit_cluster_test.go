package helm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/releaseutil"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

const appName = "app"

// deploymentTemplate is a chart's one template, of one Deployment.
const deploymentTemplate = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels: {app.kubernetes.io/instance: {{ .Release.Name }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: {{ .Values.image }}
        env: {{ toJson .Values.env }}
        resources: {requests: {cpu: "0.010", memory: 16Mi}, limits: {cpu: "1000m", memory: 64Mi}}
        readinessProbe: {httpGet: {port: 8080, path: /}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec:
  selector: {app: {{ .Release.Name }}}
  ports: [{port: 80, targetPort: 8080}]
`

// world is a namespace of the test cluster with what a test deploys there.
type world struct {
	t         *testing.T
	cluster   clustertest.Cluster
	namespace string
	image     protocol.ImageRef
	templates map[string]string
	values    map[string]any
	settings  map[string]any
	dryRun    bool
	// version is the app's and the chart's; files are further files of the chart.
	version string
	files   map[string]string
	// charts is the folder of the packaged charts.
	charts string

	mu     sync.Mutex
	events []protocol.Event
	// on, if set, sees every event first.
	on func(protocol.Event)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	t.Parallel()
	c := clustertest.Config(t)
	return &world{
		t: t, cluster: c, namespace: c.NamespaceName(t), image: clustertest.Push(t, "harmony-test/app", "1.0.0"),
		templates: map[string]string{"app.yaml": deploymentTemplate},
		values:    map[string]any{"replicas": float64(1), "env": []any{}},
		settings:  map[string]any{"timeout": "3m"},
		version:   "1.0.0",
		charts:    t.TempDir(),
	}
}

// spec is the app as it comes in a document.
func (w *world) spec() protocol.AppSpec {
	return protocol.AppSpec{
		Metadata: protocol.Metadata{Name: appName, Version: w.version},
		Image:    protocol.ImageSource{Ref: w.image.String()},
		Targets:  map[string]protocol.TargetValues{"test": {Values: w.values}},
	}
}

// pack packages the chart with the image in its values. The same content gives
// the same archive.
func (w *world) pack() protocol.ChartRef {
	w.t.Helper()
	c := &chart.Chart{
		Metadata: &chart.Metadata{APIVersion: "v2", Name: "app", Version: w.version, AppVersion: w.version},
		Raw:      []*chart.File{{Name: "values.yaml", Data: []byte("image: " + w.image.String() + "\n")}},
		Values:   map[string]any{"image": w.image.String()},
	}
	for _, name := range slices.Sorted(maps.Keys(w.templates)) {
		c.Templates = append(c.Templates, &chart.File{Name: "templates/" + name, Data: []byte(w.templates[name])})
	}
	for _, name := range slices.Sorted(maps.Keys(w.files)) {
		c.Files = append(c.Files, &chart.File{Name: name, Data: []byte(w.files[name])})
	}
	key := sha256.New()
	fmt.Fprintln(key, w.version)
	for _, f := range slices.Concat(c.Raw, c.Templates, c.Files) {
		fmt.Fprintf(key, "%s\n%s\n", f.Name, f.Data)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	path := filepath.Join(w.charts, hex.EncodeToString(key.Sum(nil))+".tgz")
	if _, err := os.Stat(path); err != nil {
		saved, err := chartutil.Save(c, w.t.TempDir()) // which writes the time into it
		if err != nil {
			w.t.Fatal(err)
		}
		if err := os.Rename(saved, path); err != nil {
			w.t.Fatal(err)
		}
	}
	archive, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256(archive)
	return protocol.ChartRef{
		Path: path, Chart: "app", ChartVersion: w.version, Digest: "sha256:" + hex.EncodeToString(sum[:]),
		Image: protocol.ImagePlaces{{Value: "image"}},
	}
}

func (w *world) adapter() capability.ContinuousDelivery {
	w.t.Helper()
	return w.adapterWith(&conn.Flags{Kubeconfig: w.cluster.Kubeconfig})
}

func (w *world) adapterWith(flags *conn.Flags) capability.ContinuousDelivery {
	w.t.Helper()
	a, err := newAdapter(flags, w.namespace, w.settings, w.dryRun, w.observe)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) observe(e protocol.Event) {
	if w.on != nil {
		w.on(e)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	w.t.Logf("%s %s %d/%d %s", time.Now().Format("05.000"), e.Phase, e.Current, e.Total, e.Message)
}

// try deploys.
func (w *world) try(ctx context.Context) (protocol.DeployResult, error) {
	w.t.Helper()
	start := time.Now()
	result, err := w.adapter().Deploy(ctx, w.spec(), "test", w.image, w.pack())
	w.t.Logf("deploy: %s revision %d in %s", result.Outcome, result.Revision, time.Since(start).Round(time.Millisecond))
	return result, err
}

// deploy deploys and fails the test unless it comes to the outcome.
func (w *world) deploy(want protocol.Outcome, revision int) protocol.DeployResult {
	w.t.Helper()
	result, err := w.try(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if result.Outcome != want || result.Revision != revision {
		w.t.Fatalf("deploy: %s revision %d, want %s revision %d", result.Outcome, result.Revision, want, revision)
	}
	return result
}

// history lists the revisions of the release, the oldest first.
func (w *world) history() []*release.Release {
	w.t.Helper()
	history, err := action.NewHistory(w.helm()).Run(appName)
	if err != nil {
		w.t.Fatal(err)
	}
	releaseutil.SortByRevision(history)
	return history
}

// helm is Helm's own way to the namespace.
func (w *world) helm() *action.Configuration {
	w.t.Helper()
	conn, err := conn.Connect(&conn.Flags{Kubeconfig: w.cluster.Kubeconfig}, protocol.Topology{
		Targets: map[string]protocol.Target{"test": {InCluster: &protocol.InCluster{Namespace: w.namespace}}},
	}, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := delivery.NewCluster(conn)
	if err != nil {
		w.t.Fatal(err)
	}
	config := &action.Configuration{}
	if err := config.Init(getter{c, func(string) {}}, w.namespace, "secret", func(string, ...any) {}); err != nil {
		w.t.Fatal(err)
	}
	return config
}

// replaceTemplate changes the chart.
func (w *world) replaceTemplate(old, new string) {
	w.t.Helper()
	text := w.templates["app.yaml"]
	changed := string(bytes.Replace([]byte(text), []byte(old), []byte(new), 1))
	if changed == text {
		w.t.Fatalf("the template has no %q", old)
	}
	w.templates["app.yaml"] = changed
}

// deployOnce is what the process of the kill test does.
func deployOnce(input string) int {
	var k killed
	if err := json.Unmarshal([]byte(input), &k); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	k.App.Metadata = k.Metadata
	a, err := newAdapter(&conn.Flags{Kubeconfig: k.Kubeconfig}, k.Namespace, nil, false, func(protocol.Event) {})
	switch {
	case err != nil:
	case k.Migrate:
		_, err = a.(capability.Migrator).Migrate(context.Background(), k.App, "test", k.Image, k.Chart)
	default:
		_, err = a.Deploy(context.Background(), k.App, "test", k.Image, k.Chart)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func newAdapter(flags *conn.Flags, namespace string, settings map[string]any, dryRun bool, progress func(protocol.Event)) (capability.ContinuousDelivery, error) {
	return New(flags)(context.Background(), capability.Environment{
		Topology: protocol.Topology{
			Metadata: protocol.Metadata{Name: "test"},
			Targets:  map[string]protocol.Target{"test": {InCluster: &protocol.InCluster{Namespace: namespace}}},
		},
		Provider: protocol.Provider{Adapter: Name, Settings: settings},
		DryRun:   dryRun,
		Progress: progress,
	})
}
