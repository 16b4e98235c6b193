// Package deploytest is what the tests of the adapters that deliver from a
// registry share: a namespace of the test cluster, an app with its image and
// its chart in the registry, and deploys of it that are watched, cut off or
// killed.
package deploytest

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// AppName is the name of the app, and Target that of the target.
const (
	AppName = "app"
	Target  = "test"
)

// DeploymentTemplate is a chart's one template, of one Deployment and Service.
const DeploymentTemplate = `apiVersion: apps/v1
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

// World is a namespace with what a test deploys there. A test changes the
// exported fields between deploys.
type World struct {
	T       *testing.T
	Cluster clustertest.Cluster
	// Namespace need not exist; it is deleted at the end of the test.
	Namespace string
	// Version is that of the app and of its chart.
	Version string
	Image   protocol.ImageRef
	// Templates are the chart's, by file name; Values the target's.
	Templates map[string]string
	Values    map[string]any
	// Settings are the adapter's in the topology.
	Settings map[string]any
	DryRun   bool
	// Adopt is what deploys may take over.
	Adopt capability.Adoption
	// NoDowngrade leaves newer versions alone.
	NoDowngrade bool
	// Migrations are the app's.
	Migrations []protocol.Migration

	name   string
	make   delivery.Constructor
	charts string
	mu     sync.Mutex
	events []protocol.Event
}

// New makes the world of a test, which runs in parallel with others.
func New(t *testing.T, name string, make delivery.Constructor) *World {
	t.Helper()
	t.Parallel()
	c := clustertest.Config(t)
	return &World{
		T: t, Cluster: c, Namespace: c.NamespaceName(t), Version: "1.0.0", Image: clustertest.Push(t, "harmony-test/app", "1.0.0"),
		Templates: map[string]string{"app.yaml": DeploymentTemplate},
		Values:    map[string]any{"replicas": float64(1), "env": []any{}},
		Settings:  map[string]any{"timeout": "3m"},
		name:      name, make: make, charts: t.TempDir(),
	}
}

// Spec is the app as it comes in a document.
func (w *World) Spec() protocol.AppSpec {
	return protocol.AppSpec{
		Metadata:   protocol.Metadata{Name: AppName, Version: w.Version},
		Image:      protocol.ImageSource{Ref: w.Image.String()},
		Targets:    map[string]protocol.TargetValues{Target: {Values: w.Values}},
		Migrations: w.Migrations,
	}
}

// NextImage replaces the image by that of another tag.
func (w *World) NextImage(tag string) {
	w.T.Helper()
	w.Image = clustertest.Push(w.T, "harmony-test/app", tag)
}

// Replace changes the chart's template.
func (w *World) Replace(old, new string) {
	w.T.Helper()
	text := w.Templates["app.yaml"]
	changed := string(bytes.Replace([]byte(text), []byte(old), []byte(new), 1))
	if changed == text {
		w.T.Fatalf("the template has no %q", old)
	}
	w.Templates["app.yaml"] = changed
}

// Adapter makes the adapter with the cluster's kubeconfig.
func (w *World) Adapter() capability.ContinuousDelivery {
	w.T.Helper()
	return w.AdapterWith(&conn.Flags{Kubeconfig: w.Cluster.Kubeconfig})
}

// Through makes the adapter behind a gate.
func (w *World) Through(g *clustertest.Gate) capability.ContinuousDelivery {
	w.T.Helper()
	return w.AdapterWith(&conn.Flags{Kubeconfig: w.Cluster.Kubeconfig, Server: g.URL, ServerName: g.ServerName})
}

// AdapterWith makes the adapter with these flags.
func (w *World) AdapterWith(flags *conn.Flags) capability.ContinuousDelivery {
	w.T.Helper()
	env := environment(w.name, w.Namespace, w.Settings, w.DryRun, w.observe)
	env.Adopt = w.Adopt
	env.Topology.Targets[Target] = protocol.Target{InCluster: env.Topology.Targets[Target].InCluster, NoDowngrade: &w.NoDowngrade}
	a, err := w.make(flags)(w.T.Context(), env)
	if err != nil {
		w.T.Fatal(err)
	}
	return a
}

func environment(name, namespace string, settings map[string]any, dryRun bool, progress func(protocol.Event)) capability.Environment {
	return capability.Environment{
		Topology: protocol.Topology{
			Metadata: protocol.Metadata{Name: "test"},
			Targets:  map[string]protocol.Target{Target: {InCluster: &protocol.InCluster{Namespace: namespace}}},
		},
		Provider: protocol.Provider{Adapter: name, Settings: settings},
		DryRun:   dryRun, Progress: progress,
	}
}

func (w *World) observe(e protocol.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	w.T.Logf("%s %s %d/%d %s", time.Now().Format("05.000"), e.Phase, e.Current, e.Total, e.Message)
}

// Told reports whether an event of the phase, or of any when it is "", said the words.
func (w *World) Told(phase, words string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if (phase == "" || e.Phase == phase) && strings.Contains(e.Message, words) {
			return true
		}
	}
	return false
}

// Try deploys.
func (w *World) Try(ctx context.Context) (protocol.DeployResult, error) {
	w.T.Helper()
	return w.TryWith(ctx, w.Adapter())
}

// TryWith deploys by an adapter that Adapter or Through made.
func (w *World) TryWith(ctx context.Context, a capability.ContinuousDelivery) (protocol.DeployResult, error) {
	w.T.Helper()
	chart := w.Chart()
	start := time.Now()
	result, err := a.Deploy(ctx, w.Spec(), Target, w.Image, chart)
	w.T.Logf("deploy: %s revision %d in %s", result.Outcome, result.Revision, time.Since(start).Round(time.Millisecond))
	return result, err
}

// Deploy deploys and fails the test unless it has the outcome, with the
// image and the chart.
func (w *World) Deploy(want protocol.Outcome) protocol.DeployResult {
	w.T.Helper()
	result, err := w.Try(w.T.Context())
	if err != nil {
		w.T.Fatalf("%v\nhint: %s", err, protocol.HintOf(err))
	}
	if result.Outcome != want || result.Planned != w.DryRun {
		w.T.Fatalf("deploy: %s (planned: %t), want %s", result.Outcome, result.Planned, want)
	}
	if chart := w.Chart(); result.Image != w.Image.Digest || result.Chart != chart.Digest {
		w.T.Fatalf("deploy: image %s chart %s, want %s and %s", result.Image, result.Chart, w.Image.Digest, chart.Digest)
	}
	return result
}

// Slowest is how many times longer than on an idle machine a deploy may take in a test:
// those of CI are shared.
const Slowest = 3

// Fails deploys, which has to fail early, within so long on an idle machine, and to say all
// of the words.
func (w *World) Fails(within time.Duration, code int, words ...string) protocol.DeployResult {
	w.T.Helper()
	start := time.Now()
	result, err := w.Try(w.T.Context())
	if err == nil {
		w.T.Fatalf("deploy: %+v, want an error", result)
	}
	w.T.Logf("%v\nhint: %s", err, protocol.HintOf(err))
	if took := time.Since(start); took > Slowest*within {
		w.T.Errorf("it took %s to fail, want at most %s", took, Slowest*within)
	}
	if got := protocol.ExitCode(err); got != code {
		w.T.Errorf("exit code %d, want %d", got, code)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			w.T.Errorf("the error does not say %q", word)
		}
	}
	return result
}

// Deployment is the app's Deployment on the cluster.
func (w *World) Deployment() *appsv1.Deployment {
	w.T.Helper()
	d, err := w.Cluster.Client.AppsV1().Deployments(w.Namespace).Get(w.T.Context(), AppName, metav1.GetOptions{})
	if err != nil {
		w.T.Fatal(err)
	}
	return d
}

// PatchDeployment changes the app's Deployment behind the adapter's back.
func (w *World) PatchDeployment(patch string) {
	w.T.Helper()
	_, err := w.Cluster.Client.AppsV1().Deployments(w.Namespace).
		Patch(w.T.Context(), AppName, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		w.T.Fatal(err)
	}
}

// NoLease fails the test when a lease is left in the namespace.
func (w *World) NoLease() {
	w.T.Helper()
	leases, err := w.Cluster.Client.CoordinationV1().Leases(w.Namespace).List(w.T.Context(), metav1.ListOptions{})
	if err != nil {
		w.T.Fatal(err)
	}
	for _, l := range leases.Items {
		w.T.Errorf("lease %s is left, held by %s", l.Name, *l.Spec.HolderIdentity)
	}
}
