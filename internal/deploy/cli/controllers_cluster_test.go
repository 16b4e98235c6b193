package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/deploy/argocd"
	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/internal/deploy/flux"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/protocol"
)

// deliveredBy writes a project of the world's app that an adapter delivers, with
// a target for devices beside it.
func deliveredBy(t *testing.T, w *deploytest.World, adapter, settings string) string {
	t.Helper()
	registry := clustertest.Registry(t) + "/harmony-test"
	text := fmt.Sprintf(`apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: app}
spec:
  image: {repository: app, dockerfile: {}}
  chart: {path: chart, image: {value: image}}
  targets: {test: {values: {replicas: 1, env: []}}}
---
apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: office}
spec:
  ociRegistry: {adapter: oci, url: %[1]s, insecure: true}
  continuousDelivery: {adapter: %[2]s, settings: %[3]s}
  targets:
    test: {inCluster: {namespace: %[4]s}}
    shops: {edgeDevice: {group: %[4]s, namespace: fleet}}
`, registry, adapter, settings, w.Namespace)
	file := filepath.Join(t.TempDir(), "harmony.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// deletes removes the objects of a controller before the namespace goes.
func deletes(t *testing.T, w *deploytest.World, namespace, name string, resources ...schema.GroupVersionResource) {
	t.Helper()
	client, err := dynamic.NewForConfig(w.Cluster.Rest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		for _, r := range resources {
			options := metav1.ListOptions{}
			if name != "" {
				options.FieldSelector = "metadata.name=" + name
			}
			if err := client.Resource(r).Namespace(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, options); err != nil {
				t.Errorf("delete %s: %v", r.Resource, err)
			}
		}
	})
}

// entryOf is what the status says of the target that the app is deployed to.
func entryOf(t *testing.T, w *deploytest.World, file string) status.Entry {
	t.Helper()
	out, err := run(t, w, nil, "status", "-o", "json", "--file", file, "--topology", "office")
	var entries []status.Entry
	if err != nil || json.Unmarshal([]byte(out), &entries) != nil || len(entries) != 2 {
		t.Fatalf("status: %v\n%s", err, out)
	}
	if e := entries[0]; e.Target != "shops" || e.State != status.Absent || e.Device != "group "+w.Namespace {
		t.Errorf("the devices: %+v", e)
	}
	return entries[1]
}

func TestStatusOfFlux(t *testing.T) {
	w := deploytest.New(t, flux.Name, flux.New)
	deletes(t, w, w.Namespace, "", schema.GroupVersionResource{Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"},
		schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "ocirepositories"})
	file := deliveredBy(t, w, flux.Name, "{}")
	result := w.Deploy(protocol.OutcomeInstalled)
	e := entryOf(t, w, file)
	if !e.Healthy || e.Adapter != flux.Name || e.State != "InstallSucceeded" || e.Image != result.Image || e.Chart != result.Chart ||
		e.Version != "1.0.0" || e.Revision != 1 || e.Since == nil || len(e.Drift) > 0 || !strings.HasPrefix(e.Object, "HelmRelease ") {
		t.Errorf("after a deploy: %+v", e)
	}
	w.PatchDeployment(`{"metadata":{"labels":{"app.kubernetes.io/instance":"other"}}}`)
	if e = entryOf(t, w, file); !slices.Equal(e.Drift, []string{"Deployment app was changed"}) {
		t.Errorf("after a change by hand: %+v", e)
	}
	out, err := run(t, w, nil, "status", "--file", file, "--topology", "office", "--target", "test")
	if err != nil || !strings.Contains(out, "InstallSucceeded  yes") || !strings.Contains(out, "Deployment app was changed") {
		t.Errorf("table: %v\n%s", err, out)
	}
}

func TestStatusOfArgoCD(t *testing.T) {
	w := deploytest.New(t, argocd.Name, argocd.New)
	w.Settings["application"], w.Settings["timeout"] = w.Namespace, "2m"
	deletes(t, w, "argocd", w.Namespace, schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"})
	file := deliveredBy(t, w, argocd.Name, "{application: "+w.Namespace+"}")
	if e := entryOf(t, w, file); e.State != status.Absent {
		t.Errorf("before the first deploy: %+v", e)
	}
	result := w.Deploy(protocol.OutcomeInstalled)
	e := entryOf(t, w, file)
	if !e.Healthy || e.Adapter != argocd.Name || e.State != "Synced" || e.Image != result.Image || e.Chart != result.Chart || e.Version != "1.0.0" || e.Since == nil {
		t.Errorf("after a deploy: %+v", e)
	}
	w.PatchDeployment(`{"metadata":{"labels":{"app.kubernetes.io/instance":"other"}}}`)
	for deadline := time.Now().Add(20 * time.Second); len(e.Drift) == 0 && time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		e = entryOf(t, w, file)
	}
	if !slices.Equal(e.Drift, []string{"Deployment app is out of sync"}) || e.State != "OutOfSync" || !e.Healthy {
		t.Errorf("after a change by hand: %+v", e)
	}
}
