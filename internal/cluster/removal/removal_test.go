package removal

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"

	"github.com/nationtech/harmony/internal/cluster/manifest"
	"github.com/nationtech/harmony/pkg/protocol"
)

const release = `
apiVersion: v1
kind: Service
metadata: {name: app, uid: "1"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, annotations: {helm.sh/resource-policy: keep}}
---
apiVersion: v1
kind: Namespace
metadata: {name: fleet}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  selector: {matchLabels: {app: db}}
  volumeClaimTemplates: [{metadata: {name: data}}]
`

// objectsOf are the objects of a manifest in the namespace fleet.
func objectsOf(t *testing.T, text string) []*unstructured.Unstructured {
	t.Helper()
	objects, err := manifest.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// spaceWith is a cluster that has the objects.
func spaceWith(objects ...*unstructured.Unstructured) manifest.Space {
	mapper := meta.NewDefaultRESTMapper(nil)
	lists := map[schema.GroupVersionResource]string{}
	for kind, scope := range map[string]meta.RESTScope{
		"v1/Service": meta.RESTScopeNamespace, "v1/ConfigMap": meta.RESTScopeNamespace, "v1/Pod": meta.RESTScopeNamespace,
		"v1/PersistentVolumeClaim": meta.RESTScopeNamespace, "v1/Namespace": meta.RESTScopeRoot, "apps/v1/StatefulSet": meta.RESTScopeNamespace,
	} {
		at := strings.LastIndex(kind, "/")
		version, _ := schema.ParseGroupVersion(kind[:at])
		mapper.Add(version.WithKind(kind[at+1:]), scope)
		resource, _ := meta.UnsafeGuessKindToResource(version.WithKind(kind[at+1:]))
		lists[resource] = kind[at+1:] + "List"
	}
	var there []runtime.Object
	for _, o := range objects {
		o = o.DeepCopy()
		if o.GetKind() != "Namespace" {
			o.SetNamespace("fleet")
		}
		there = append(there, o)
	}
	return manifest.Space{Dynamic: fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, there...), Mapper: mapper, Namespace: "fleet"}
}

func TestWhatGoesAndWhatStays(t *testing.T) {
	objects := objectsOf(t, release)
	claims := objectsOf(t, `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data-db-0}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data-db-other-0}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data-db-x}
`)
	p := Of(spaceWith(append(claims, objects[1:]...)...), "app", objects)
	if got := fmt.Sprint(p.Removed()); got != "[service/app statefulset.apps/db]" {
		t.Errorf("goes: %s", got)
	}
	kept, err := p.Kept(t.Context())
	want := []protocol.ObjectRef{
		{Resource: "namespace", Name: "fleet"},
		{Resource: "configmap", Name: "settings", Namespace: "fleet"},
		{Resource: "persistentvolumeclaim", Name: "data-db-0", Namespace: "fleet"},
	}
	if err != nil || !slices.Equal(kept, want) {
		t.Errorf("kept %+v, %v", kept, err)
	}
}

func TestDeleteAndWait(t *testing.T) {
	objects := objectsOf(t, release)
	p := Of(spaceWith(objects...), "app", objects)
	if err := p.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context(), func(int, int, protocol.ObjectRef) {}); err != nil {
		t.Fatal(err)
	}
	kept, err := p.Kept(t.Context())
	if err != nil || len(kept) != 2 {
		t.Errorf("kept %v, %v", kept, err)
	}
	if err := p.Delete(t.Context()); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestWhatHoldsIsNamed(t *testing.T) {
	now := metav1.Now()
	for name, test := range map[string]struct {
		finalizer string
		code      int
		says      string
	}{
		"a finalizer":           {"example.com/backup", protocol.ExitFailed, "service/app in namespace fleet has the finalizer example.com/backup"},
		"the garbage collector": {metav1.FinalizerDeleteDependents, protocol.ExitRetryable, "service/app in namespace fleet is being deleted since"},
	} {
		t.Run(name, func(t *testing.T) {
			objects := objectsOf(t, release)[:1]
			objects[0].SetDeletionTimestamp(&now)
			objects[0].SetFinalizers([]string{test.finalizer})
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			err := Of(spaceWith(objects...), "app", objects).Wait(ctx, func(int, int, protocol.ObjectRef) {})
			if protocol.ExitCode(err) != test.code || err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("status %d: %v", protocol.ExitCode(err), err)
			}
		})
	}
}

func TestWaitIsInterrupted(t *testing.T) {
	objects := objectsOf(t, release)[:1]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := Of(spaceWith(objects...), "app", objects).Wait(ctx, func(int, int, protocol.ObjectRef) {})
	if protocol.ExitCode(err) != protocol.ExitInterrupted {
		t.Errorf("%v", err)
	}
}
