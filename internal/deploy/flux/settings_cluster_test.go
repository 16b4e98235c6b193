package flux

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The OCIRepository lies in another namespace, with a Secret beside it, and Flux
// acts as a service account that may work in the target's namespace only.
func TestSourceNamespaceSecretAndServiceAccount(t *testing.T) {
	w := newWorld(t)
	client := w.Cluster.Client
	elsewhere := w.Cluster.Namespace(t)
	made := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.Namespace}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), made, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.Settings["sourceNamespace"], w.Settings["secretRef"], w.Settings["serviceAccount"] = elsewhere, "registry", "deployer"

	w.Settings["failFast"] = true
	w.Fails(30*time.Second, protocol.ExitFailed, "cannot fetch the chart", "registry")
	delete(w.Settings, "failFast")
	registry := clustertest.Registry(t)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "registry"}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(`{"auths":{"` + registry + `":{"username":"u","password":"p"}}}`)},
	}
	if _, err := client.CoreV1().Secrets(elsewhere).Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.Fails(30*time.Second, protocol.ExitFailed, "deployer", "cannot")
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "deployer"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "deployer", Namespace: w.Namespace}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "admin"},
	}
	if _, err := client.RbacV1().RoleBindings(w.Namespace).Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	first := w.Deploy(protocol.OutcomeInstalled)
	w.Deploy(protocol.OutcomeUnchanged)
	w.NextImage("1.1.0")
	if second := w.Deploy(protocol.OutcomeUpgraded); second.PreviousChart != first.Chart {
		t.Errorf("result %+v after %+v", second, first)
	}
	list, err := w.client.Resource(sources).Namespace(elsewhere).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range list.Items {
		at, _, _ := unstructured.NestedString(source.Object, "spec", "secretRef", "name")
		if at != "registry" || !strings.HasPrefix(source.GetName(), w.Namespace+"-") || source.GetName() != w.nameOf(sources) && source.GetDeletionTimestamp() == nil {
			t.Errorf("OCIRepository %s with secret %q, want that of the last chart alone", source.GetName(), at)
		}
	}
}
