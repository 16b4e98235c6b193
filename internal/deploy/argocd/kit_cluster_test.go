package argocd

import (
	"context"
	"os"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/internal/cluster/lease"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/internal/deploy/deploytest"
)

func TestMain(m *testing.M) { os.Exit(deploytest.Main(m, New)) }

// argoWorld is a world with an Application of its own.
type argoWorld struct {
	*deploytest.World
	applications, projects dynamic.ResourceInterface
}

// argoNamespace is where Argo CD is in the test cluster.
const argoNamespace = "argocd"

func newWorld(t *testing.T) *argoWorld {
	t.Helper()
	w := deploytest.New(t, Name, New)
	w.Settings["application"], w.Settings["timeout"] = w.Namespace, "4m"
	world := newWorldIn(w, argoNamespace)
	world.needsArgo()
	t.Cleanup(func() {
		if err := world.applications.Delete(context.Background(), w.Namespace, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Errorf("delete the Application: %v", err)
		}
	})
	return world
}

// needsArgo skips a test of a cluster that has no Argo CD.
func (w *argoWorld) needsArgo() {
	w.T.Helper()
	if _, err := w.projects.Get(w.T.Context(), "default", metav1.GetOptions{}); err != nil {
		if os.Getenv("CI") != "" {
			w.T.Fatalf("needs the test cluster with Argo CD: %v", err)
		}
		w.T.Skipf("needs the test cluster with Argo CD: %v", err)
	}
}

func (w *argoWorld) application() *unstructured.Unstructured {
	w.T.Helper()
	object, err := w.applications.Get(w.T.Context(), w.Namespace, metav1.GetOptions{})
	if err != nil {
		w.T.Fatal(err)
	}
	return object
}

// edit changes the Application as another user of it would.
func (w *argoWorld) edit(change func(*unstructured.Unstructured)) {
	w.T.Helper()
	for {
		object := w.application()
		change(object)
		_, err := w.applications.Update(w.T.Context(), object, metav1.UpdateOptions{})
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			w.T.Fatal(err)
		}
	}
}

func set(t *testing.T, object *unstructured.Unstructured, value any, path ...string) {
	t.Helper()
	if err := unstructured.SetNestedField(object.Object, value, path...); err != nil {
		t.Fatal(err)
	}
}

// syncs is how often the Application was synced.
func (w *argoWorld) syncs() int {
	w.T.Helper()
	history, _, err := unstructured.NestedSlice(w.application().Object, "status", "history")
	if err != nil {
		w.T.Fatal(err)
	}
	return len(history)
}

// eventually waits for what the controller does by itself.
func (w *argoWorld) eventually(what string, holds func() bool) {
	w.T.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.T.Fatalf("not within 30 seconds: %s", what)
		}
	}
}

// releaseNow is what the Application wants.
func releaseNow(t *testing.T, w *argoWorld) release {
	t.Helper()
	found, err := api.New(w.application())
	if err != nil {
		t.Fatal(err)
	}
	return releaseOf(found)
}

// noLease fails the test when its lease is left.
func (w *argoWorld) noLease() {
	w.T.Helper()
	_, err := w.Cluster.Client.CoordinationV1().Leases(argoNamespace).Get(w.T.Context(), lease.Name(w.Namespace), metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		w.T.Errorf("the lease: %v, want none", err)
	}
}

// noNamespace fails the test when the app's namespace was made.
func (w *argoWorld) noNamespace() {
	w.T.Helper()
	_, err := w.Cluster.Client.CoreV1().Namespaces().Get(w.T.Context(), w.Namespace, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		w.T.Errorf("the namespace: %v, want none", err)
	}
}

// newWorldIn is the world with Argo CD's objects in another namespace.
func newWorldIn(w *deploytest.World, namespace string) *argoWorld {
	w.T.Helper()
	client, err := dynamic.NewForConfig(w.Cluster.Rest)
	if err != nil {
		w.T.Fatal(err)
	}
	group := schema.GroupVersion{Group: "argoproj.io", Version: "v1alpha1"}
	return &argoWorld{
		World:        w,
		applications: client.Resource(group.WithResource("applications")).Namespace(namespace),
		projects:     client.Resource(group.WithResource("appprojects")).Namespace(namespace),
	}
}

func same(a, b any) bool { return equality.Semantic.DeepEqual(a, b) }
