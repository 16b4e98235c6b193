package flux

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// made is the app as somebody delivers it by Flux without harmony: a chart by its tag,
// under a source of another name.
func made(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	chart := w.Chart()
	_, err := w.Cluster.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.Namespace}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range []struct {
		of   schema.GroupVersionResource
		kind string
		name string
		spec map[string]any
	}{
		{sources, "OCIRepository", "charts", map[string]any{
			"url": chart.URL, "interval": "1m", "insecure": true, "ref": map[string]any{"tag": "1.0.0"},
			"layerSelector": map[string]any{"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "operation": "copy"},
		}},
		{releases, "HelmRelease", "app", map[string]any{
			"interval": "1m", "chartRef": map[string]any{"kind": "OCIRepository", "name": "charts"}, "dependsOn": []any{},
			"values": map[string]any{"replicas": int64(1), "env": []any{}, "left": "over"},
		}},
	} {
		u := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": object.of.GroupVersion().String(), "kind": object.kind, "spec": object.spec,
			"metadata": map[string]any{"name": object.name, "namespace": w.Namespace},
		}}
		if _, err := w.client.Resource(object.of).Namespace(w.Namespace).Create(t.Context(), u, metav1.CreateOptions{FieldManager: "kubectl-create"}); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if len(w.Pods()) == 1 && isReady(seenOf(t, w).Unstructured) {
			return w
		}
	}
	t.Fatal("Flux has not installed the HelmRelease")
	return nil
}

func seenOf(t *testing.T, w *world) seen {
	t.Helper()
	object, err := w.client.Resource(releases).Namespace(w.Namespace).Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSeen(object)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAdoptAHelmRelease(t *testing.T) {
	w := made(t)
	w.CheckAdopted("kubectl-create", protocol.ExitFailed)
	if values, _, _ := unstructured.NestedMap(seenOf(t, w).Object, "spec", "values"); values["left"] != nil {
		t.Errorf("values %v: what was there before is left", values)
	}
	w.CheckAdoptedAgain()
}

func TestAdoptedByTwoAtOnce(t *testing.T) {
	w := made(t)
	w.CheckDiffOfOthers()
	w.CheckAdoptedAtOnce("kubectl-create")
	w.NoLease()
}

func TestAdoptKilled(t *testing.T) {
	w := made(t)
	w.CheckAdoptKilled(400*time.Millisecond, 700*time.Millisecond, 1200*time.Millisecond)
	w.NoLease()
}

func TestAdoptRefusesWhatIsKept(t *testing.T) {
	w := made(t)
	pods := w.Pods()
	w.Adopt = capability.AdoptSameChart
	w.patch(releases, "kustomize-controller", `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":"apps","kustomize.toolkit.fluxcd.io/namespace":"flux-system"}}}`)
	w.Refused(protocol.ExitUnsupported, "Kustomization flux-system/apps", "write it back")
	w.patch(releases, "kubectl", `{"metadata":{"labels":null},"spec":{"postRenderers":[{"kustomize":{}}]}}`)
	w.Refused(protocol.ExitUnsupported, "spec.postRenderers")
	w.patch(releases, "kubectl", `{"spec":{"postRenderers":null,"releaseName":"other"}}`)
	w.Refused(protocol.ExitUnsupported, "releaseName other")
	if isOurs(seenOf(t, w)) || !slices.Equal(pods, w.Pods()) {
		t.Errorf("pods %v, before %v", w.Pods(), pods)
	}
}
