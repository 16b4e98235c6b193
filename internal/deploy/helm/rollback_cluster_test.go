package helm

import (
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// rollsBack deploys, which has to fail and to end in the image given.
func (w *world) rollsBack(image string, revision int, words ...string) {
	w.t.Helper()
	result, err := w.try(w.t.Context())
	if protocol.ExitCode(err) != protocol.ExitFailed {
		w.t.Fatalf("error %v with exit code %d, want a failure", err, protocol.ExitCode(err))
	}
	if result.Outcome != protocol.OutcomeRolledBack || result.Image != image || result.Revision != revision {
		w.t.Errorf("result %+v, want rolled back to image %s as revision %d; error: %v", result, image, revision, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			w.t.Errorf("the error does not say %q: %v", word, err)
		}
	}
	if got := w.getDeployment().Spec.Template.Spec.Containers[0].Image; !strings.HasSuffix(got, image) {
		w.t.Errorf("image %s is deployed, want %s", got, image)
	}
	w.noLease()
}

// statuses are those of the revisions, the oldest first.
func (w *world) statuses() []release.Status {
	var all []release.Status
	for _, r := range w.history() {
		all = append(all, r.Info.Status)
	}
	return all
}

func TestFailedUpgradeIsRolledBack(t *testing.T) {
	w := newWorld(t)
	w.deploy(protocol.OutcomeInstalled, 1)
	first := w.image

	w.image.Digest = "sha256:" + strings.Repeat("0", 64) // never ready
	w.templates["extra.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"
	w.rollsBack(first.Digest, 3, "deployment/app", "not found")
	if got, want := w.statuses(), []release.Status{release.StatusSuperseded, release.StatusFailed, release.StatusDeployed}; !slices.Equal(got, want) {
		t.Errorf("history %v, want %v", got, want)
	}
	if _, err := w.cluster.Client.CoreV1().ConfigMaps(w.namespace).Get(t.Context(), "extra", metav1.GetOptions{}); err == nil {
		t.Error("what only the failed upgrade had is left")
	}

	// What it went back to is what the release before was.
	delete(w.templates, "extra.yaml")
	second := w.image
	w.image = first
	w.deploy(protocol.OutcomeUnchanged, 3)

	// Without the rollback the failed revision stays, and is not what a later one
	// goes back to.
	w.settings["rollback"] = false
	w.image = second
	if result, err := w.try(t.Context()); err == nil || result.Outcome != "" {
		t.Fatalf("result %+v, %v, want a failure and nothing rolled back", result, err)
	}
	if all := w.statuses(); all[len(all)-1] != release.StatusFailed {
		t.Errorf("history %v, want the last one failed", all)
	}
	w.settings["rollback"] = true
	w.values["replicas"] = float64(2)
	w.rollsBack(first.Digest, 6)
}

func TestFailedHookIsRolledBack(t *testing.T) {
	w := newWorld(t)
	w.deploy(protocol.OutcomeInstalled, 1)
	first := w.image.Digest
	w.image = clustertest.Push(t, "harmony-test/app", "1.1.0")
	w.templates["job.yaml"] = jobTemplate(`annotations: {helm.sh/hook: post-upgrade}`)
	w.rollsBack(first, 3, "hook", "exit code 4", "no such table")
}

// Hooks and tests are shown as they write, and a failed test is a failed deploy.
func TestLogsOfHooksAndTests(t *testing.T) {
	w := newWorld(t)
	w.settings["tests"] = true
	hook := strings.ReplaceAll(jobTemplate(`annotations: {helm.sh/hook: pre-install, helm.sh/hook-delete-policy: hook-succeeded}`), `"4"`, `"0"`)
	w.templates["job.yaml"] = strings.ReplaceAll(hook, "no such table", "tables are made")
	test := "apiVersion: v1\nkind: Pod\nmetadata: {name: app-test, annotations: {helm.sh/hook: test}}\nspec:\n  restartPolicy: Never\n  containers:\n" +
		"  - {name: test, image: \"{{ .Values.image }}\", env: [{name: SAY, value: it answers}, {name: EXIT, value: \"0\"}]}\n"
	w.templates["test.yaml"] = test
	w.deploy(protocol.OutcomeInstalled, 1)
	w.told("job/app-migrate: tables are made")
	w.told("pod/app-test: it answers")

	w.templates["test.yaml"] = strings.ReplaceAll(strings.ReplaceAll(test, `"0"`, `"5"`), "it answers", "no answer")
	w.rollsBack(w.image.Digest, 3, "pod/app-test", "exit code 5", "no answer")
}

// told fails the test unless an event said so.
func (w *world) told(message string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.ContainsFunc(w.events, func(e protocol.Event) bool { return e.Message == message }) {
		w.t.Errorf("no event said %q", message)
	}
}

// operator is the adapter with what it can do beside deploying.
func (w *world) operator() *adapter {
	w.t.Helper()
	return w.adapterWith(&conn.Flags{Kubeconfig: w.cluster.Kubeconfig}).(*adapter)
}

func TestRollbackToAVersion(t *testing.T) {
	w := newWorld(t)
	digests := map[string]string{}
	for i, version := range []string{"1.0.0", "1.1.0", "1.2.0"} {
		w.version, w.image = version, clustertest.Push(t, "harmony-test/app", version)
		digests[version] = w.image.Digest
		w.deploy([]protocol.Outcome{protocol.OutcomeInstalled, protocol.OutcomeUpgraded, protocol.OutcomeUpgraded}[i], i+1)
	}
	for _, c := range []struct {
		to, version string
		outcome     protocol.Outcome
		revision    int
	}{
		{"1.0.0", "1.0.0", protocol.OutcomeRolledBack, 4},
		{"1.0.0", "1.0.0", protocol.OutcomeUnchanged, 4},
		{"v1.1.0", "1.1.0", protocol.OutcomeRolledBack, 5},
		{"", "1.0.0", protocol.OutcomeRolledBack, 6},
	} {
		result, err := w.operator().Rollback(t.Context(), w.spec(), "test", c.to)
		if err != nil {
			t.Fatal(err)
		}
		if result.Outcome != c.outcome || result.Version != c.version || result.Image != digests[c.version] || result.Revision != c.revision {
			t.Errorf("rollback to %q: %+v, want %+v", c.to, result, c)
		}
		if got := w.getDeployment().Spec.Template.Spec.Containers[0].Image; !strings.HasSuffix(got, digests[c.version]) {
			t.Errorf("rollback to %q: image %s, want %s", c.to, got, digests[c.version])
		}
	}
	_, err := w.operator().Rollback(t.Context(), w.spec(), "test", "9.9.9")
	if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(protocol.HintOf(err), "1.2.0 (revision 3)") {
		t.Errorf("error %v, hint %q, want invalid input and what there is", err, protocol.HintOf(err))
	}
	w.noLease()
}

func TestDriftIsReported(t *testing.T) {
	w := newWorld(t)
	w.settings["drift"] = "report"
	w.deploy(protocol.OutcomeInstalled, 1)
	w.patchDeployment(`{"spec":{"replicas":2}}`)
	result := w.deploy(protocol.OutcomeUnchanged, 1)
	if !slices.Equal(result.Drift, []string{"Deployment app was changed"}) {
		t.Errorf("drift %q", result.Drift)
	}
	if n := *w.getDeployment().Spec.Replicas; n != 2 {
		t.Errorf("%d replicas, want 2: drift was to be reported only", n)
	}
	// Another image is not what was asked for: that is no success.
	other := clustertest.Push(t, "harmony-test/app", "0.9.0")
	w.patchDeployment(`{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"` + other.String() + `"}]}}}}`)
	if result, err := w.try(t.Context()); protocol.ExitCode(err) != protocol.ExitFailed || result.Outcome != "" || !strings.Contains(err.Error(), "Deployment app was changed") {
		t.Errorf("result %+v, error %v, want a failure that names the drift", result, err)
	}
	if n := len(w.history()); n != 1 {
		t.Errorf("%d revisions, want 1", n)
	}
}

func TestNamespaceAndPullSecret(t *testing.T) {
	w := newWorld(t)
	w.settings["namespaceLabels"] = map[string]any{"example.com/team": "fleet"}
	w.settings["pullSecret"] = "pull"
	w.deploy(protocol.OutcomeInstalled, 1)
	namespaces, secrets := w.cluster.Client.CoreV1().Namespaces(), w.cluster.Client.CoreV1().Secrets(w.namespace)
	check := func() {
		t.Helper()
		namespace, err := namespaces.Get(t.Context(), w.namespace, metav1.GetOptions{})
		if err != nil || namespace.Labels["example.com/team"] != "fleet" {
			t.Errorf("labels %v, %v", namespace.Labels, err)
		}
		secret, err := secrets.Get(t.Context(), "pull", metav1.GetOptions{})
		if err != nil || secret.Type != corev1.SecretTypeDockerConfigJson {
			t.Fatalf("pull secret of type %s, %v", secret.Type, err)
		}
		want := `{"auths":{"` + w.image.Registry + `":{"username":"` + registryUser + `","password":"` + registryPassword + `"}}}`
		if got := string(secret.Data[corev1.DockerConfigJsonKey]); got != want {
			t.Errorf("pull secret %s, want %s", got, want)
		}
	}
	check()
	w.deploy(protocol.OutcomeUnchanged, 1)

	// What is changed by hand comes back, without a new revision.
	secret, err := secrets.Get(t.Context(), "pull", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	secret.Data[corev1.DockerConfigJsonKey] = []byte(`{"auths":{}}`)
	if _, err := secrets.Update(t.Context(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.deploy(protocol.OutcomeUnchanged, 1)
	check()

	// A Secret of somebody else is left alone.
	foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, StringData: map[string]string{"a": "b"}}
	if _, err := secrets.Create(t.Context(), foreign, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.settings["pullSecret"] = "theirs"
	w.fails(10e9, protocol.ExitInvalid, "theirs", "not harmony's")
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if strings.Contains(e.Message, registryPassword) {
			t.Error("an event holds the password")
		}
	}
}
