package prometheusoperator

import (
	"context"
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/protocol"
	"github.com/nationtech/harmony/schemas"
)

// world is a namespace of the test cluster with the operator's definitions.
type world struct {
	t         *testing.T
	cluster   clustertest.Cluster
	client    dynamic.Interface
	namespace string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, cluster: clustertest.Config(t)}
	w.cluster.PrometheusOperator(t)
	w.namespace = w.cluster.Namespace(t)
	var err error
	if w.client, err = dynamic.NewForConfig(w.cluster.Rest); err != nil {
		t.Fatal(err)
	}
	return w
}

// monitor lets an app be watched, and fails the test when that fails.
func (w *world) monitor(app protocol.AppSpec, dryRun bool) protocol.MonitoringResult {
	w.t.Helper()
	result, err := open(w.t, w.cluster.Kubeconfig, w.namespace, dryRun).Monitor(w.t.Context(), app, "staging")
	if err != nil {
		w.t.Fatalf("%v (hint: %s)", err, protocol.HintOf(err))
	}
	d, err := protocol.Encode(result)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := schemas.Validate(d.Bytes()); err != nil {
		w.t.Error(err)
	}
	return result
}

// changes are what became of the objects, as "ServiceMonitor created, …".
func changes(r protocol.MonitoringResult) string {
	var list []string
	for _, o := range r.Objects {
		list = append(list, strings.TrimPrefix(o.Kind+" "+o.Name, "AlertmanagerConfig ")+" "+string(o.Change))
	}
	return strings.Join(list, ", ")
}

func (w *world) of(kindName string) dynamic.ResourceInterface {
	for _, k := range kinds() {
		if k.name == kindName {
			return w.client.Resource(k.resource).Namespace(w.namespace)
		}
	}
	w.t.Fatalf("no kind %s", kindName)
	return nil
}

// specs are the specs of all objects in the namespace, by kind and name.
func (w *world) specs() map[string]any {
	w.t.Helper()
	found := map[string]any{}
	for _, k := range kinds() {
		list, err := w.of(k.name).List(w.t.Context(), metav1.ListOptions{})
		if err != nil {
			w.t.Fatal(err)
		}
		for _, o := range list.Items {
			found[k.name+" "+o.GetName()] = o.Object["spec"]
		}
	}
	return found
}

// patch changes an object as a person does with kubectl edit.
func (w *world) patch(kindName, name string, change map[string]any) {
	w.t.Helper()
	text, err := json.Marshal(change)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.of(kindName).Patch(w.t.Context(), name, types.MergePatchType, text, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
		w.t.Fatal(err)
	}
}

// An app that uses every field of monitoring is written whole, as the operator's
// definitions have it, once; what it does not ask for any more goes.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := golden(t)
	p := place{app: app, target: "staging", namespace: w.namespace}
	whole := map[string]any{}
	for key, object := range objectsOf(p) {
		whole[key] = object.Object["spec"]
	}

	if plan := w.monitor(app, true); plan.Unchanged || !plan.Planned || plan.Summary != "would create 7 of 7 objects" || len(w.specs()) != 0 {
		t.Errorf("plan %+v made %v", plan, w.specs())
	}
	const created = "ServiceMonitor fleet-operator created, PrometheusRule fleet-operator created, fleet-operator.chat created, fleet-operator.hook created, fleet-operator.mail created, fleet-operator.page created, fleet-operator.private created"
	first := w.monitor(app, false)
	if got := changes(first); got != created || first.Unchanged || first.Namespace != w.namespace {
		t.Errorf("first: %s", got)
	}
	if got := w.specs(); !reflect.DeepEqual(got, whole) {
		t.Errorf("the cluster has %v, want %v", got, whole)
	}
	for _, dryRun := range []bool{false, true} {
		again := w.monitor(app, dryRun)
		if got, want := changes(again), strings.ReplaceAll(created, "created", "unchanged"); got != want || !again.Unchanged {
			t.Errorf("again: %s", got)
		}
	}

	fewer := app
	fewer.Monitoring = &protocol.Monitoring{Metrics: app.Monitoring.Metrics, Routes: app.Monitoring.Routes[:1]}
	const less = "ServiceMonitor fleet-operator unchanged, PrometheusRule fleet-operator removed, fleet-operator.hook unchanged, fleet-operator.chat removed, fleet-operator.mail removed, fleet-operator.page removed, fleet-operator.private removed"
	if got := changes(w.monitor(fewer, true)); got != less || len(w.specs()) != 7 {
		t.Errorf("plan of fewer: %s, and %d objects are left", got, len(w.specs()))
	}
	if got := changes(w.monitor(fewer, false)); got != less || len(w.specs()) != 2 {
		t.Errorf("fewer: %s, and %d objects are left", got, len(w.specs()))
	}
	fewer.Monitoring = nil
	w.monitor(fewer, false)
	if left := w.specs(); len(left) != 0 {
		t.Errorf("%v is left", left)
	}
	if last := w.monitor(fewer, false); !last.Unchanged || last.Summary != "nothing to watch" {
		t.Errorf("nothing: %+v", last)
	}
}

// Whatever somebody does to the objects by hand is made undone.
func TestDriftIsRepaired(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := golden(t)
	app.Monitoring.Routes = app.Monitoring.Routes[:1]
	w.monitor(app, false)
	whole := w.specs()
	const name = "fleet-operator"
	for drift, make := range map[string]func(){
		"a changed field": func() {
			w.patch("ServiceMonitor", name, map[string]any{"spec": map[string]any{"endpoints": []any{map[string]any{"port": "other"}}}})
		},
		"a further label to choose by": func() {
			w.patch("ServiceMonitor", name, map[string]any{"spec": map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"x": "y"}}}})
		},
		"a further field":  func() { w.patch("ServiceMonitor", name, map[string]any{"spec": map[string]any{"sampleLimit": 1}}) },
		"no rules":         func() { w.patch("PrometheusRule", name, map[string]any{"spec": map[string]any{"groups": []any{}}}) },
		"labels taken off": func() { w.patch("PrometheusRule", name, map[string]any{"metadata": map[string]any{"labels": nil}}) },
		"another receiver": func() {
			w.patch("AlertmanagerConfig", name+".hook", map[string]any{"spec": map[string]any{"receivers": []any{map[string]any{"name": "hook"}}}})
		},
		"deleted": func() {
			if err := w.of("AlertmanagerConfig").Delete(t.Context(), name+".hook", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		make()
		planned := w.monitor(app, true)
		repaired := w.monitor(app, false)
		if planned.Unchanged || changes(planned) != changes(repaired) {
			t.Errorf("%s: planned %s, done %s", drift, changes(planned), changes(repaired))
		}
		if got := w.specs(); !reflect.DeepEqual(got, whole) {
			t.Errorf("%s: the cluster has %v, want %v", drift, got, whole)
		}
		if again := w.monitor(app, false); !again.Unchanged {
			t.Errorf("%s: repaired again: %s", drift, changes(again))
		}
	}

	// What harmony says nothing of belongs to others.
	w.patch("ServiceMonitor", name, map[string]any{"metadata": map[string]any{"labels": map[string]any{"team": "a"}, "annotations": map[string]any{"note": "b"}}})
	if again := w.monitor(app, false); !again.Unchanged {
		t.Errorf("a label of somebody else: %s", changes(again))
	}
}

// Objects that somebody else made are neither changed nor removed, and nothing is
// written beside them.
func TestForeignObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := golden(t)
	foreign := place{namespace: w.namespace}.object(kinds()[1], app.Name, map[string]any{"groups": []any{}})
	for says, labels := range map[string]map[string]string{
		"PrometheusRule " + w.namespace + "/fleet-operator exists already: it was made by helm": {"app.kubernetes.io/managed-by": "Helm"},
		"it was made by harmony for app other":                                                  {marks.App: "other", marks.ManagedBy: marks.Harmony},
	} {
		foreign.SetLabels(labels)
		if _, err := w.of("PrometheusRule").Apply(t.Context(), app.Name, foreign, metav1.ApplyOptions{FieldManager: "helm", Force: true}); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, w.cluster.Kubeconfig, w.namespace, false).Monitor(t.Context(), app, "staging")
		if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), says) || protocol.HintOf(err) == "" {
			t.Errorf("got %v, want %s", err, says)
		}
		if got := w.specs(); len(got) != 1 {
			t.Errorf("something was written: %v", got)
		}
	}
	app.Monitoring = nil
	if result := w.monitor(app, false); len(result.Objects) != 0 || len(w.specs()) != 1 {
		t.Errorf("what is not ours was removed: %+v", result)
	}
}

// Two apps of a namespace do not meet.
func TestApps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app, other := golden(t), golden(t)
	other.Name = "fleet-agent"
	w.monitor(app, false)
	w.monitor(other, false)
	other.Monitoring = nil
	w.monitor(other, false)
	if got := w.monitor(app, false); !got.Unchanged || len(w.specs()) != 7 {
		t.Errorf("got %s, %d objects", changes(got), len(w.specs()))
	}
}

// Errors of the API server keep their meaning.
func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := golden(t)

	missing := open(t, w.cluster.Kubeconfig, w.namespace+"-not", false)
	if _, err := missing.Monitor(t.Context(), app, "staging"); protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(protocol.HintOf(err), "deploy the app") {
		t.Errorf("no namespace: %v (hint: %s)", err, protocol.HintOf(err))
	}
	planned, err := open(t, w.cluster.Kubeconfig, w.namespace+"-not", true).Monitor(t.Context(), app, "staging")
	if err != nil || planned.Unchanged {
		t.Errorf("plan without the namespace: %+v, %v", planned, err)
	}

	bad := open(t, w.cluster.Kubeconfig, w.namespace, false).(*adapter)
	bad.settings.labels = map[string]string{"no label": "x"}
	if _, err := bad.Monitor(t.Context(), app, "staging"); protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "no label") {
		t.Errorf("a bad label: %v", err)
	}

	old := place{app: app, namespace: w.namespace}.object(kinds()[0], app.Name, map[string]any{"endpoints": []any{}, "selector": map[string]any{}})
	old.SetFinalizers([]string{"example.com/wait"})
	if _, err := w.of("ServiceMonitor").Apply(t.Context(), app.Name, old, metav1.ApplyOptions{FieldManager: manager}); err != nil {
		t.Fatal(err)
	}
	if err := w.of("ServiceMonitor").Delete(t.Context(), app.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.release(app.Name) })
	if _, err := open(t, w.cluster.Kubeconfig, w.namespace, false).Monitor(t.Context(), app, "staging"); protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), "is being deleted") {
		t.Errorf("an object that is being deleted: %v", err)
	}
}

// release lets an object that is being deleted go.
func (w *world) release(name string) {
	patch := []byte(`{"metadata":{"finalizers":null}}`)
	if _, err := w.of("ServiceMonitor").Patch(context.Background(), name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		w.t.Errorf("release %s: %v", name, err)
	}
}

// On a multiCluster target the app is watched on each cluster that can be
// reached; one that cannot is told by its name, and does not stop the others.
func TestClusters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config, err := clientcmd.LoadFromFile(w.cluster.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	here := config.Contexts[config.CurrentContext]
	config.Clusters["gone"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:1"}
	config.Contexts = map[string]*clientcmdapi.Context{"eu": here, "us": {Cluster: "gone", AuthInfo: here.AuthInfo}}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	app := golden(t)
	app.Monitoring.Routes = nil
	monitor := func(contexts ...string) (protocol.MonitoringResult, error) {
		a := open(t, file, w.namespace, false).(*adapter)
		a.env.Topology.Targets["shops"] = protocol.Target{MultiCluster: &protocol.MultiCluster{Contexts: contexts, Namespace: w.namespace}}
		return a.Monitor(t.Context(), app, "shops")
	}
	_, err = monitor("us", "eu")
	if protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), "cluster us: ") || strings.Contains(err.Error(), "cluster eu: ") {
		t.Errorf("got %v", err)
	}
	result, err := monitor("eu")
	if err != nil || len(result.Objects) != 2 || !result.Unchanged || result.Objects[0].Cluster != "eu" {
		t.Errorf("the other cluster: %+v, %v", result, err)
	}
}
