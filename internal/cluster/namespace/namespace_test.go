package namespace

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/pkg/protocol"
)

func namespace(change func(*corev1.Namespace)) *corev1.Namespace {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "fleet", Labels: map[string]string{"others": "stay"}}}
	if change != nil {
		change(n)
	}
	return n
}

// A namespace that is being deleted is refused at once, whatever it still holds.
func TestTerminating(t *testing.T) {
	now := metav1.Now()
	for name, change := range map[string]func(*corev1.Namespace){
		"phase":     func(n *corev1.Namespace) { n.Status.Phase = corev1.NamespaceTerminating },
		"timestamp": func(n *corev1.Namespace) { n.DeletionTimestamp, n.Finalizers = &now, []string{"kubernetes"} },
	} {
		client := fake.NewClientset(namespace(change))
		w := Wanted{Name: "fleet"}
		_, settled := w.Settled(t.Context(), client)
		for _, err := range []error{Check(t.Context(), client, "fleet"), w.Ensure(t.Context(), client), settled} {
			if protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), "namespace fleet is being deleted") {
				t.Errorf("%s: error %v", name, err)
			}
		}
	}
	if err := Check(t.Context(), fake.NewClientset(), "fleet"); err != nil {
		t.Errorf("a namespace that is yet to be made: %v", err)
	}
}

func TestEnsure(t *testing.T) {
	secret, err := PullSecret("pull", map[string]Login{"r.example.com": {"ci", "hunter2"}})
	if err != nil {
		t.Fatal(err)
	}
	wanted := Wanted{Name: "fleet", Labels: map[string]string{"team": "a"}, Release: "web", PullSecret: secret}
	for name, there := range map[string][]runtime.Object{"nothing": nil, "a namespace": {namespace(nil)}} {
		client := fake.NewClientset(there...)
		if settled, err := wanted.Settled(t.Context(), client); settled || err != nil {
			t.Errorf("%s: settled %t, %v", name, settled, err)
		}
		for range 2 {
			if err := wanted.Ensure(t.Context(), client); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if settled, err := wanted.Settled(t.Context(), client); !settled || err != nil {
			t.Errorf("%s: settled %t, %v", name, settled, err)
		}
		made, err := client.CoreV1().Namespaces().Get(t.Context(), "fleet", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// Helm only takes for its own what was made for its release.
		owner := made.Annotations["meta.helm.sh/release-name"] + made.Annotations["meta.helm.sh/release-namespace"] + made.Labels[marks.ManagedBy]
		if want := map[bool]string{true: "webfleetHelm"}[there == nil]; owner != want {
			t.Errorf("%s: marks %q, want %q", name, owner, want)
		}
		if (made.Labels["others"] == "stay") != (there != nil) || made.Labels["team"] != "a" {
			t.Errorf("%s: labels %v", name, made.Labels)
		}
	}
}

func TestSecretOfOthers(t *testing.T) {
	secret, err := PullSecret("pull", map[string]Login{"r.example.com": {"ci", "hunter2"}})
	if err != nil {
		t.Fatal(err)
	}
	other := secret.DeepCopy()
	other.Namespace, other.Labels, other.Data = "fleet", nil, map[string][]byte{"x": nil}
	client := fake.NewClientset(namespace(nil), other)
	if err := (Wanted{Name: "fleet", PullSecret: secret}).Ensure(t.Context(), client); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("error %v, want invalid input", err)
	}
	other.Labels = map[string]string{marks.ManagedBy: "harmony"}
	client = fake.NewClientset(namespace(nil), other)
	if err := (Wanted{Name: "fleet", PullSecret: secret}).Ensure(t.Context(), client); err != nil {
		t.Errorf("harmony's own with old credentials: %v", err)
	}
}

// Several apps of a namespace may share the Secret, and need not run images of the same
// registries.
func TestSharedPullSecret(t *testing.T) {
	client := fake.NewClientset(namespace(nil))
	for _, step := range []struct {
		logins map[string]Login
		want   string
	}{
		{map[string]Login{"a.example.com": {"ci", "1"}}, `{"auths":{"a.example.com":{"username":"ci","password":"1"}}}`},
		{map[string]Login{"b.example.com": {"ci", "2"}}, `{"auths":{"a.example.com":{"username":"ci","password":"1"},"b.example.com":{"username":"ci","password":"2"}}}`},
		{map[string]Login{"a.example.com": {"ci", "3"}}, `{"auths":{"a.example.com":{"username":"ci","password":"3"},"b.example.com":{"username":"ci","password":"2"}}}`},
		{nil, `{"auths":{"a.example.com":{"username":"ci","password":"3"},"b.example.com":{"username":"ci","password":"2"}}}`},
	} {
		secret, err := PullSecret("pull", step.logins)
		if err != nil {
			t.Fatal(err)
		}
		wanted := Wanted{Name: "fleet", PullSecret: secret}
		if err := wanted.Ensure(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		if settled, err := wanted.Settled(t.Context(), client); !settled || err != nil {
			t.Errorf("settled %t, %v", settled, err)
		}
		made, err := client.CoreV1().Secrets("fleet").Get(t.Context(), "pull", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(made.Data[corev1.DockerConfigJsonKey]); got != step.want {
			t.Errorf("got %s, want %s", got, step.want)
		}
	}
}

// Who may not see namespaces works in one that is there.
func TestForbidden(t *testing.T) {
	client := fake.NewClientset()
	client.PrependReactor("*", "namespaces", func(a clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(a.GetResource().GroupResource(), "fleet", nil)
	})
	if err := (Wanted{Name: "fleet"}).Ensure(t.Context(), client); err != nil {
		t.Error(err)
	}
	if settled, err := (Wanted{Name: "fleet"}).Settled(t.Context(), client); !settled || err != nil {
		t.Errorf("settled %t, %v", settled, err)
	}
}
