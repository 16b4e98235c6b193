package edge

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"

	"github.com/nationtech/harmony/internal/cluster/devices/devicestest"
	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

var (
	sources  = schema.GroupVersionResource{Group: "source.toolkit.fluxcd.io", Version: "v1", Resource: "ocirepositories"}
	releases = schema.GroupVersionResource{Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"}
)

// device is a cluster of Flux that plays a device.
type device struct {
	*deploytest.World
	client  dynamic.Interface
	mapper  meta.RESTMapper
	edge    *protocol.EdgeDevice
	reports string
}

func newDevice(t *testing.T, form protocol.EdgeForm) *device {
	t.Helper()
	w := deploytest.New(t, Name, New)
	client, err := dynamic.NewForConfig(w.Cluster.Rest)
	if err != nil {
		t.Fatal(err)
	}
	found, err := discovery.NewDiscoveryClientForConfig(w.Cluster.Rest)
	if err != nil {
		t.Fatal(err)
	}
	made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.Namespace}}
	if _, err := w.Cluster.Client.CoreV1().Namespaces().Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	d := &device{World: w, client: client, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(found))}
	registry := clustertest.Registry(t) + "/harmony-test/" + w.Namespace
	d.edge = &protocol.EdgeDevice{
		Device: "kiosk-7", Namespace: w.Namespace, Form: form, Registry: registry + "/edge", Insecure: true,
		Reports: &protocol.DeviceReports{Registry: registry + "/edge-reports"},
	}
	d.reports = registry + "/edge-reports/devices/kiosk-7/app:kiosk-7"
	// Flux's finalizers go with its objects, before the namespace does.
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		for _, resource := range []schema.GroupVersionResource{releases, sources} {
			if err := client.Resource(resource).Namespace(w.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
				t.Errorf("delete %s: %v", resource.Resource, err)
			}
		}
	})
	return d
}

func (d *device) adapter() *adapter {
	return &adapter{env: capability.Environment{
		Topology: protocol.Topology{Metadata: protocol.Metadata{Name: "test"}, Targets: map[string]protocol.Target{deploytest.Target: {EdgeDevice: d.edge}}},
		Progress: func(e protocol.Event) { d.T.Logf("%s %s", e.Phase, e.Message) },
	}}
}

// publish deploys to the device and tells what was published.
func (d *device) publish(want protocol.Outcome) protocol.DeployResult {
	d.T.Helper()
	result, err := d.adapter().Deploy(d.T.Context(), d.Spec(), deploytest.Target, d.Image, d.Chart())
	if err != nil {
		d.T.Fatalf("%v\nhint: %s", err, protocol.HintOf(err))
	}
	if result.Outcome != want {
		d.T.Fatalf("outcome %s, want %s: %+v", result.Outcome, want, result.Published)
	}
	return result
}

// follows is what is set up on a device once: docs/edge-devices.md.
func (d *device) follows(published *protocol.PublishedState) {
	d.T.Helper()
	url, tag, _ := cutLast(published.URL, ":")
	d.apply(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
		"metadata": map[string]any{"name": "state", "namespace": d.Namespace},
		"spec":     map[string]any{"interval": "1m", "url": url, "ref": map[string]any{"tag": tag}, "insecure": true},
	}})
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (d *device) apply(o *unstructured.Unstructured) {
	d.T.Helper()
	mapping, err := d.mapper.RESTMapping(o.GroupVersionKind().GroupKind(), o.GroupVersionKind().Version)
	if err != nil {
		d.T.Fatal(err)
	}
	var resource dynamic.ResourceInterface = d.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		resource = d.client.Resource(mapping.Resource).Namespace(o.GetNamespace())
	}
	if _, err := resource.Apply(d.T.Context(), o.GetName(), o, metav1.ApplyOptions{FieldManager: "device", Force: true}); err != nil {
		d.T.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
	}
}

// pulled waits until source-controller has the state of the digest, and reads
// what it hands on.
func (d *device) pulled(digest string) []file {
	d.T.Helper()
	patch := []byte(`{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"` + time.Now().Format(time.RFC3339Nano) + `"}}}`)
	if _, err := d.client.Resource(sources).Namespace(d.Namespace).Patch(d.T.Context(), "state", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		d.T.Fatal(err)
	}
	o := d.until(sources, "state", func(o *unstructured.Unstructured) bool {
		revision, _, _ := unstructured.NestedString(o.Object, "status", "artifact", "revision")
		return revision == "latest@"+digest && isReady(o)
	})
	url, _, _ := unstructured.NestedString(o.Object, "status", "artifact", "url")
	response, err := http.Get(url)
	if err != nil {
		d.T.Fatal(err)
	}
	defer response.Body.Close()
	content, err := gzip.NewReader(response.Body)
	if err != nil {
		d.T.Fatal(err)
	}
	var files []file
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			d.T.Fatal(err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			d.T.Fatal(err)
		}
		files = append(files, file{header.Name, text})
	}
}

// applies plays kustomize-controller.
func (d *device) applies(files []file) {
	d.T.Helper()
	all, err := objects(files)
	if err != nil {
		d.T.Fatal(err)
	}
	for _, o := range all {
		d.apply(o)
	}
}

func (d *device) until(resource schema.GroupVersionResource, name string, enough func(*unstructured.Unstructured) bool) *unstructured.Unstructured {
	d.T.Helper()
	var last *unstructured.Unstructured
	for deadline := time.Now().Add(45 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		o, err := d.client.Resource(resource).Namespace(d.Namespace).Get(d.T.Context(), name, metav1.GetOptions{})
		if err != nil {
			d.T.Fatal(err)
		}
		if last = o; enough(o) {
			return o
		}
	}
	d.T.Fatalf("%s %s did not come to it: %v", resource.Resource, name, last.Object["status"])
	return nil
}

func isReady(o *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		if c, _ := c.(map[string]any); c["type"] == "Ready" {
			return c["status"] == "True"
		}
	}
	return false
}

// runs waits until the app runs with the image, and ready.
func (d *device) runs(image string) {
	d.T.Helper()
	deployments := schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	d.until(deployments, deploytest.AppName, func(o *unstructured.Unstructured) bool {
		updated, _, _ := unstructured.NestedInt64(o.Object, "status", "updatedReplicas")
		ready, _, _ := unstructured.NestedInt64(o.Object, "status", "readyReplicas")
		observed, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
		return observed == o.GetGeneration() && updated == 1 && ready == 1
	})
	if got := d.Deployment().Spec.Template.Spec.Containers[0].Image; got != image {
		d.T.Errorf("image %s, want %s", got, image)
	}
}

func TestDevicePullsManifests(t *testing.T) {
	d := newDevice(t, protocol.EdgeManifests)
	d.Templates["kept.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, annotations: {helm.sh/resource-policy: keep}}\n"
	first := d.publish(protocol.OutcomePublished)
	d.follows(first.Published)
	d.applies(d.pulled(first.Published.Digest))
	d.runs(d.Image.String())

	if again := d.publish(protocol.OutcomePublished); again.Image != "" || !again.Published.Unchanged {
		t.Errorf("before the device has reported: %+v", again)
	}
	devicestest.Report(t, d.reports, "ready", "latest@"+first.Published.Digest, "")
	if again := d.publish(protocol.OutcomeUnchanged); again.Image != d.Image.Digest {
		t.Errorf("after the device has reported: %+v", again)
	}

	d.NextImage("1.1.0")
	second := d.publish(protocol.OutcomePublished)
	if second.PreviousImage != first.Published.Image {
		t.Errorf("result %+v", second)
	}
	d.applies(d.pulled(second.Published.Digest))
	d.runs(d.Image.String())

	result := d.buries()
	d.lacks("deployments", "apps", deploytest.AppName)
	if _, err := d.Cluster.Client.CoreV1().ConfigMaps(d.Namespace).Get(t.Context(), "kept", metav1.GetOptions{}); err != nil {
		t.Errorf("what the chart keeps: %v", err)
	}
	devicestest.Report(t, d.reports, "gone", "latest@"+result.Published.Digest, "")
	if again := d.uninstalls(); again.Outcome != protocol.OutcomeAbsent {
		t.Errorf("after the device has reported: %+v", again)
	}
}

// uninstalls publishes the tombstone.
func (d *device) uninstalls() protocol.DeployResult {
	d.T.Helper()
	result, err := d.adapter().Remove(d.T.Context(), d.Spec(), deploytest.Target)
	if err != nil {
		d.T.Fatalf("%v\nhint: %s", err, protocol.HintOf(err))
	}
	return result
}

// buries publishes the tombstone, and applies it as a device does.
func (d *device) buries() protocol.DeployResult {
	d.T.Helper()
	result := d.uninstalls()
	files := d.pulled(result.Published.Digest)
	o := d.until(sources, "state", isReady)
	if mark, _, _ := unstructured.NestedString(o.Object, "status", "artifact", "metadata", marks.Removed); mark != "true" {
		d.T.Errorf("Flux does not tell that it is a tombstone: %v", o.Object["status"])
	}
	d.applies(files)
	goes, err := listed(files)
	if err != nil || len(goes) == 0 {
		d.T.Fatalf("it removes %v, %v", goes, err)
	}
	for _, o := range goes {
		mapping, err := d.mapper.RESTMapping(o.GroupVersionKind().GroupKind(), o.GroupVersionKind().Version)
		if err == nil {
			err = d.client.Resource(mapping.Resource).Namespace(o.GetNamespace()).Delete(d.T.Context(), o.GetName(), metav1.DeleteOptions{})
		}
		if err != nil {
			d.T.Fatalf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	return result
}

// lacks waits until an object is gone.
func (d *device) lacks(resource, group, name string) {
	d.T.Helper()
	of := d.client.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}).Namespace(d.Namespace)
	for deadline := time.Now().Add(45 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		_, err := of.Get(d.T.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return
		}
		if err != nil || time.Now().After(deadline) {
			d.T.Fatalf("%s %s is not gone: %v", resource, name, err)
		}
	}
}

func TestDevicePullsHelmRelease(t *testing.T) {
	d := newDevice(t, protocol.EdgeHelmRelease)
	result := d.publish(protocol.OutcomePublished)
	d.follows(result.Published)
	d.applies(d.pulled(result.Published.Digest))
	d.until(releases, deploytest.AppName, isReady)
	d.runs(d.Image.String())
	o := d.until(releases, deploytest.AppName, isReady)
	history, _, _ := unstructured.NestedSlice(o.Object, "status", "history")
	if newest, _ := history[0].(map[string]any); newest["ociDigest"] != result.Published.Chart {
		t.Errorf("helm-controller installed %v, want %s", newest["ociDigest"], result.Published.Chart)
	}
	d.buries()
	d.lacks("deployments", "apps", deploytest.AppName)
}
