package flux

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// helmRelease is one that somebody else made, with more in its spec.
func helmRelease(t *testing.T, more string) seen {
	t.Helper()
	s := read(t, "spec: {chart: {spec: {chart: ./charts/app, sourceRef: {kind: GitRepository, name: apps}}}"+more+"}")
	s.SetAPIVersion(releases.GroupVersion().String())
	s.SetNamespace("fleet")
	return s
}

// adopting is a deployment of the chart app to the namespace fleet.
func adopting(objects ...runtime.Object) (*deployment, *fake.FakeDynamicClient) {
	client := fake.NewSimpleDynamicClient(runtime.NewScheme(), objects...)
	d := &deployment{Call: delivery.Call{
		Cluster: &delivery.Cluster{Conn: &conn.Conn{Namespace: "fleet"}, Dynamic: client},
		Chart:   protocol.ChartRef{Chart: "app"}, Adopt: capability.AdoptSameChart,
	}}
	d.App.Name = "app"
	return d, client
}

func TestAdopts(t *testing.T) {
	for _, c := range []struct{ name, spec, want string }{
		{"a chart in Git", "", ""},
		{"the same names", ", releaseName: app, targetNamespace: fleet, storageNamespace: fleet", ""},
		{"another release", ", releaseName: shop", "has the releaseName shop, and harmony's would have app"},
		{"the release name by default", ", targetNamespace: fleet", "has the releaseName fleet-app"},
		{"another namespace", ", releaseName: app, targetNamespace: other", "has the targetNamespace other, and harmony's would have fleet"},
		{"a record elsewhere", ", storageNamespace: flux-system", "has the storageNamespace flux-system"},
		{"another cluster", ", kubeConfig: {secretRef: {name: other}}", "has spec.kubeConfig, which harmony does not write"},
		{"values of a Secret", ", valuesFrom: [{kind: Secret, name: values}]", "has spec.valuesFrom"},
		{"patches", ", postRenderers: [{kustomize: {}}]", "has spec.postRenderers"},
	} {
		d, _ := adopting()
		adopted, err := d.adopts(t.Context(), helmRelease(t, c.spec))
		if adopted != (c.want == "") || (d.adopted != "") != adopted || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %t from %q, %v", c.name, adopted, d.adopted, err)
		}
		if err != nil && protocol.ExitCode(err) != protocol.ExitUnsupported {
			t.Errorf("%s: status %d", c.name, protocol.ExitCode(err))
		}
	}
	d, _ := adopting()
	d.Chart.Chart, d.adopted = "other", "somebody, before"
	if adopted, err := d.adopts(t.Context(), helmRelease(t, "")); adopted || err == nil || !strings.Contains(err.Error(), "is of the chart app") || d.adopted != "" {
		t.Errorf("another chart: %t from %q, %v", adopted, d.adopted, err)
	}
	d.Adopt = capability.AdoptAnyChart
	if adopted, err := d.adopts(t.Context(), helmRelease(t, "")); !adopted || err != nil {
		t.Errorf("another chart, which is said: %t, %v", adopted, err)
	}
}

// The spec of all managers becomes that of one, and the rest stays theirs.
func TestMoved(t *testing.T) {
	fields := func(manager, subresource, owned string) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{Manager: manager, Operation: metav1.ManagedFieldsOperationUpdate, Subresource: subresource, FieldsV1: metav1.NewFieldsV1(owned)}
	}
	before := []metav1.ManagedFieldsEntry{
		fields("kubectl", "", `{"f:spec":{"f:interval":{},"f:values":{"f:a":{}}}}`),
		fields("flux", "", `{"f:metadata":{"f:annotations":{}},"f:spec":{"f:suspend":{},"f:values":{"f:b":{}}}}`),
		fields("helm-controller", "status", `{"f:status":{}}`),
	}
	got, err := moved(before, func(metav1.ManagedFieldsEntry) bool { return true }, metav1.ManagedFieldsEntry{Manager: "harmony"})
	if err != nil {
		t.Fatal(err)
	}
	owned := map[string]string{}
	for _, f := range got {
		var of map[string]any
		if err := json.Unmarshal(f.FieldsV1.GetRawBytes(), &of); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(of)
		if err != nil {
			t.Fatal(err)
		}
		owned[f.Manager] = string(text)
	}
	want := map[string]string{
		"flux": `{"f:metadata":{"f:annotations":{}}}`, "helm-controller": `{"f:status":{}}`,
		"harmony": `{"f:spec":{"f:interval":{},"f:suspend":{},"f:values":{"f:a":{},"f:b":{}}}}`,
	}
	if !reflect.DeepEqual(owned, want) || got[len(got)-1].FieldsType != "FieldsV1" {
		t.Errorf("%v", owned)
	}
	before[0].FieldsV1 = metav1.NewFieldsV1("{")
	if _, err := moved(before, func(metav1.ManagedFieldsEntry) bool { return true }, metav1.ManagedFieldsEntry{}); err == nil {
		t.Error("fields that cannot be read are moved")
	}
}

// Flux writes the status of an object at any time; what somebody else does to its spec
// is not written over.
func TestEdit(t *testing.T) {
	for name, c := range map[string]struct {
		generation int64
		code       int
	}{"its status is newer": {2, protocol.ExitOK}, "its spec is newer": {3, protocol.ExitRetryable}} {
		s := helmRelease(t, "")
		d, client := adopting(s.DeepCopy())
		conflicts := 0
		client.PrependReactor("update", "helmreleases", func(a clienttesting.Action) (bool, runtime.Object, error) {
			if conflicts++; conflicts > 1 {
				return false, nil, nil
			}
			now := s.DeepCopy()
			now.SetGeneration(c.generation)
			now.SetResourceVersion("8")
			if err := client.Tracker().Update(releases, now, "fleet"); err != nil {
				t.Error(err)
			}
			return true, nil, apierrors.NewConflict(releases.GroupResource(), "app", errors.New("changed"))
		})
		made, err := d.edit(t.Context(), releases, s, func(o *unstructured.Unstructured) error {
			o.SetLabels(map[string]string{"given": "back"})
			return nil
		})
		if protocol.ExitCode(err) != c.code || err == nil && made.GetLabels()["given"] != "back" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
