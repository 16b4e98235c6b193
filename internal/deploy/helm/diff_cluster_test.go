package helm

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/internal/cluster/difference"
	"github.com/nationtech/harmony/internal/deploy/status"
	"github.com/nationtech/harmony/pkg/protocol"
)

// diff is what would change, as text.
func (w *world) diff() string {
	w.t.Helper()
	objects, err := w.operator().Diff(w.t.Context(), w.spec(), "test", w.image, w.pack())
	if err != nil {
		w.t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := difference.Write(&b, objects, false); err != nil {
		w.t.Fatal(err)
	}
	return b.String()
}

func TestDiff(t *testing.T) {
	w := newWorld(t)
	w.templates["secret.yaml"] = "apiVersion: v1\nkind: Secret\nmetadata: {name: token}\nstringData: {token: hunter2, same: same-secret}\n"
	w.templates["extra.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"
	holds := func(text string, words ...string) {
		t.Helper()
		for _, word := range words {
			if !strings.Contains(text, word) {
				t.Errorf("the diff does not hold %q:\n%s", word, text)
			}
		}
		for _, secret := range []string{"hunter2", "hunter3", "same-secret", "aHVudGVyMg", "aHVudGVyMw"} {
			if strings.Contains(text, secret) {
				t.Errorf("the diff shows a secret:\n%s", text)
			}
		}
	}
	holds(w.diff(), "--- /dev/null\n+++ Deployment "+w.namespace+"/app (deploy)", "+  replicas: 1", "+  token: '***'")
	if _, err := w.cluster.Client.CoreV1().Namespaces().Get(t.Context(), w.namespace, metav1.GetOptions{}); err == nil {
		t.Error("the diff made the namespace")
	}
	w.deploy(protocol.OutcomeInstalled, 1)
	if text := w.diff(); text != "" {
		t.Errorf("right after a deploy there is a diff:\n%s", text)
	}

	w.templates["secret.yaml"] = strings.ReplaceAll(w.templates["secret.yaml"], "hunter2", "hunter3")
	delete(w.templates, "extra.yaml")
	w.values["replicas"] = float64(3)
	text := w.diff()
	holds(text, "-  replicas: 1\n+  replicas: 3", "-  token: '*** (before)'\n+  token: '*** (after)'", "--- ConfigMap "+w.namespace+"/extra (cluster)\n+++ /dev/null")
	if strings.Contains(text, "Service") {
		t.Errorf("the Service does not change:\n%s", text)
	}
	if n := *w.getDeployment().Spec.Replicas; n != 1 {
		t.Errorf("the diff scaled to %d", n)
	}

	// What the server would refuse is told before, by a dry run as well.
	w.replaceTemplate("  selector: {matchLabels: {app: {{ .Release.Name }}}}", "  selector: {matchLabels: {app: other}}")
	_, err := w.operator().Diff(t.Context(), w.spec(), "test", w.image, w.pack())
	if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "would refuse") {
		t.Errorf("error %v, want invalid input", err)
	}
	w.dryRun = true
	w.fails(10*time.Second, protocol.ExitInvalid, "Deployment "+w.namespace+"/app", "would refuse")
}

func TestStatus(t *testing.T) {
	w := newWorld(t)
	one := func() status.Entry {
		t.Helper()
		entries, err := w.operator().Status(t.Context(), w.spec(), "test")
		if err != nil || len(entries) != 1 {
			t.Fatalf("%d entries, %v, want one", len(entries), err)
		}
		return entries[0]
	}
	if e := one(); e.State != status.Absent || e.Healthy {
		t.Errorf("nothing is deployed, but: %+v", e)
	}
	before := time.Now().Add(-time.Second)
	w.deploy(protocol.OutcomeInstalled, 1)
	e := one()
	if !e.Healthy || e.Adapter != "helm" || e.State != "deployed" || e.Image != w.image.Digest || e.Version != "1.0.0" || e.Namespace != w.namespace ||
		e.Revision != 1 || len(e.Drift) > 0 || e.Since == nil || e.Since.Before(before) || e.Since.After(time.Now()) {
		t.Errorf("entry %+v", e)
	}
	w.patchDeployment(`{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"` + w.image.FullName() + `@sha256:` + strings.Repeat("0", 64) + `"}]}}}}`)
	if e := one(); e.Healthy || len(e.Drift) != 1 || e.Message == "" {
		t.Errorf("entry %+v, want drift, and not healthy", e)
	}
}

// crd is a CustomResourceDefinition of a group of the test's own.
func crd(group, field string) string {
	return `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: robots.` + group + `}
spec:
  group: ` + group + `
  names: {kind: Robot, plural: robots, singular: robot}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {` + field + `: {type: string}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
`
}

func TestCRDsAndCustomResources(t *testing.T) {
	w := newWorld(t)
	group := strings.ReplaceAll(w.namespace, "-", "") + ".example.com"
	client, err := dynamic.NewForConfig(w.cluster.Rest)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Resource(definitions).Delete(context.WithoutCancel(t.Context()), "robots."+group, metav1.DeleteOptions{}); err != nil {
			t.Log(err)
		}
	})
	robots := client.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: "robots"}).Namespace(w.namespace)
	w.settings["wait"] = map[string]any{"Robot." + group: "condition=Ready"}
	w.settings["timeout"] = "40s"
	w.files = map[string]string{"crds/robot.yaml": crd(group, "name")}
	w.templates["robot.yaml"] = "apiVersion: " + group + "/v1\nkind: Robot\nmetadata: {name: r2}\nspec: {name: r2}\n"
	condition := func(kind, value string) {
		t.Helper()
		patch := `{"status":{"conditions":[{"type":"` + kind + `","status":"` + value + `","reason":"Test","message":"the arm is stuck"}]}}`
		if _, err := robots.Patch(t.Context(), "r2", types.MergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
			t.Error(err)
		}
	}
	// It is waited for until its controller, which is this test, says so.
	ready := make(chan struct{})
	go func() {
		defer close(ready)
		for range 200 {
			if _, err := robots.Get(t.Context(), "r2", metav1.GetOptions{}); err == nil {
				time.Sleep(2 * time.Second)
				condition("Ready", "True")
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Error("the custom resource was not made")
	}()
	w.deploy(protocol.OutcomeInstalled, 1)
	select {
	case <-ready:
	default:
		t.Error("the custom resource was not waited for")
	}
	w.deploy(protocol.OutcomeUnchanged, 1)

	// One that says itself that it failed is not waited for.
	condition("Stalled", "True")
	w.values["replicas"] = float64(2)
	w.settings["rollback"] = false
	w.fails(60*time.Second, protocol.ExitFailed, "robot/r2", "the arm is stuck")
	condition("Ready", "True")

	// A changed definition is only brought to the cluster when that is asked for.
	w.files["crds/robot.yaml"] = crd(group, "nickname")
	for _, c := range []struct{ policy, field string }{{"create", "name"}, {"upgrade", "nickname"}} {
		w.settings["crds"] = c.policy
		w.values["env"] = []any{map[string]any{"name": "POLICY", "value": c.policy}}
		if _, err := w.try(t.Context()); err != nil {
			t.Fatal(err)
		}
		found, err := client.Resource(definitions).Get(t.Context(), "robots."+group, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		versions, _, _ := unstructured.NestedSlice(found.Object, "spec", "versions")
		fields, _, _ := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties")
		if _, ok := fields[c.field]; !ok {
			t.Errorf("crds: %s: the definition has %v, want %s", c.policy, fields, c.field)
		}
	}
}

// A claim that is not bound keeps a deploy from being done.
func TestUnboundClaimIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.settings["timeout"] = "10s"
	w.values["replicas"] = float64(0)
	w.templates["claim.yaml"] = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: {accessModes: [ReadWriteOnce], storageClassName: none-such, resources: {requests: {storage: 1Mi}}}\n"
	w.fails(20*time.Second, protocol.ExitFailed, "persistentvolumeclaim/data", "not ready in time")
	w.settings["wait"] = map[string]any{"PersistentVolumeClaim": "exists"}
	w.settings["timeout"] = "30s"
	w.deploy(protocol.OutcomeUnchanged, 1)
}
