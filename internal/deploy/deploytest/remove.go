package deploytest

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// KeptTemplate is a ConfigMap that the chart keeps, one that it does not, and a
// StatefulSet without pods.
const KeptTemplate = `apiVersion: v1
kind: ConfigMap
metadata: {name: kept, annotations: {helm.sh/resource-policy: keep}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: plain}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 0
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: {{ .Values.image }}}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Mi}}}
`

// Remove uninstalls.
func (w *World) Remove(ctx context.Context) (protocol.DeployResult, error) {
	w.T.Helper()
	start := time.Now()
	result, err := w.Adapter().(capability.Remover).Remove(ctx, w.Spec(), Target)
	w.T.Logf("uninstall: %s in %s: %v", result.Outcome, time.Since(start).Round(time.Millisecond), err)
	return result, err
}

// removes uninstalls, and fails the test unless it comes to the outcome.
func (w *World) removes(want protocol.Outcome) protocol.DeployResult {
	w.T.Helper()
	result, err := w.Remove(w.T.Context())
	if err != nil || result.Outcome != want || result.Planned != w.DryRun {
		w.T.Fatalf("uninstall: %+v, %v", result, err)
	}
	return result
}

// config is a ConfigMap of the chart; nil when it does not exist.
func (w *World) config(name string) *corev1.ConfigMap {
	w.T.Helper()
	found, err := w.Cluster.Client.CoreV1().ConfigMaps(w.Namespace).Get(w.T.Context(), name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return found
}

// pods is how many pods of the app there are.
func (w *World) pods() int {
	w.T.Helper()
	list, err := w.Cluster.Client.CoreV1().Pods(w.Namespace).List(w.T.Context(), metav1.ListOptions{LabelSelector: "app=" + AppName})
	if err != nil {
		w.T.Fatal(err)
	}
	return len(list.Items)
}

// finalizers sets those of the ConfigMap that goes.
func (w *World) finalizers(list string) {
	w.T.Helper()
	_, err := w.Cluster.Client.CoreV1().ConfigMaps(w.Namespace).
		Patch(w.T.Context(), "plain", types.MergePatchType, []byte(`{"metadata":{"finalizers":`+list+`}}`), metav1.PatchOptions{})
	if err != nil {
		w.T.Fatal(err)
	}
}

// CheckRemove is what an uninstall has to do with every adapter: nothing where
// nothing is, a plan that changes nothing, and then all but what is kept.
func CheckRemove(t *testing.T, w *World) {
	t.Helper()
	w.removes(protocol.OutcomeAbsent)
	w.Templates["kept.yaml"] = KeptTemplate
	w.Deploy(protocol.OutcomeInstalled)
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data-db-0"}, Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: new("none"),
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Mi")}},
	}}
	if _, err := w.Cluster.Client.CoreV1().PersistentVolumeClaims(w.Namespace).Create(t.Context(), claim, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}

	w.DryRun = true
	kept := names(w.removes(protocol.OutcomeRemoved).Kept)
	if w.DryRun = false; w.pods() != 1 || kept != "configmap/kept persistentvolumeclaim/data-db-0" {
		t.Errorf("after a dry run: %d pods, would keep %s", w.pods(), kept)
	}

	kept = names(w.removes(protocol.OutcomeRemoved).Kept)
	if w.pods() != 0 || w.config("plain") != nil || w.config("kept") == nil || kept != "configmap/kept persistentvolumeclaim/data-db-0" {
		t.Errorf("%d pods, plain: %v, kept: %v, told %s", w.pods(), w.config("plain"), w.config("kept"), kept)
	}
	w.removes(protocol.OutcomeAbsent)
	w.NoLease()
}

// CheckHeld removes an object that a finalizer holds: it is named, and
// once the finalizer is gone the same command finds its end.
func CheckHeld(t *testing.T, w *World) {
	t.Helper()
	w.Templates["kept.yaml"] = KeptTemplate
	w.Deploy(protocol.OutcomeInstalled)
	w.finalizers(`["example.com/backup"]`)
	free := func() { w.finalizers("null") }
	defer func() {
		if w.config("plain") != nil {
			free()
		}
	}()
	w.Settings["timeout"] = "10s"
	_, err := w.Remove(t.Context())
	if protocol.ExitCode(err) != protocol.ExitFailed || err == nil || !strings.Contains(err.Error(), "configmap/plain in namespace "+w.Namespace+" has the finalizer example.com/backup") {
		t.Errorf("status %d: %v", protocol.ExitCode(err), err)
	}
	free()
	w.Settings["timeout"] = "1m"
	if _, err := w.Remove(t.Context()); err != nil || w.pods() != 0 || w.config("plain") != nil {
		t.Errorf("again: %v, %d pods", err, w.pods())
	}
	w.NoLease()
}

// CheckKilled kills an uninstall at several moments; the next one comes to
// the end.
func CheckKilled(t *testing.T, w *World, moments ...time.Duration) {
	t.Helper()
	for _, moment := range moments {
		w.Deploy(protocol.OutcomeInstalled)
		w.KillRemoveAfter(moment)
		if _, err := w.Remove(t.Context()); err != nil || w.pods() != 0 {
			t.Errorf("after a kill at %s: %v, %d pods", moment, err, w.pods())
		}
		w.removes(protocol.OutcomeAbsent)
		w.NoLease()
	}
}

func names(objects []protocol.ObjectRef) string {
	var list []string
	for _, o := range objects {
		list = append(list, o.String())
	}
	return strings.Join(list, " ")
}
