package cli

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	helmrelease "helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/internal/deploy/helm"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// plainHelm runs the helm command in the namespace of a world.
func plainHelm(t *testing.T, w *deploytest.World, args ...string) string {
	t.Helper()
	binary := os.Getenv("HARMONY_TEST_HELM")
	if binary == "" {
		t.Skip("needs HARMONY_TEST_HELM")
	}
	c := exec.Command(binary, append(args, "--kubeconfig", w.Cluster.Kubeconfig, "--namespace", w.Namespace)...)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("helm %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// create makes a Deployment and a Service as kubectl would, and waits for the pods.
func create(t *testing.T, w *deploytest.World, rendered string) {
	t.Helper()
	options := metav1.CreateOptions{FieldManager: "kubectl"}
	client := w.Cluster.Client
	_, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.Namespace}}, options)
	for _, text := range strings.Split(rendered, "\n---\n") {
		var deployment appsv1.Deployment
		var service corev1.Service
		switch {
		case strings.Contains(text, "kind: Deployment"):
			err = errors.Join(err, yaml.Unmarshal([]byte(text), &deployment))
			_, failed := client.AppsV1().Deployments(w.Namespace).Create(t.Context(), &deployment, options)
			err = errors.Join(err, failed)
		case strings.Contains(text, "kind: Service"):
			err = errors.Join(err, yaml.Unmarshal([]byte(text), &service))
			_, failed := client.CoreV1().Services(w.Namespace).Create(t.Context(), &service, options)
			err = errors.Join(err, failed)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); w.Deployment().Status.ReadyReplicas == 0; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the Deployment is not ready")
		}
	}
}

// setPending leaves the newest revision as a helm at work does.
func setPending(t *testing.T, w *deploytest.World) {
	t.Helper()
	releases := storage.Init(driver.NewSecrets(w.Cluster.Client.CoreV1().Secrets(w.Namespace)))
	last, err := releases.Last("app")
	if err == nil {
		last.SetStatus(helmrelease.StatusPendingUpgrade, "Preparing upgrade")
		err = releases.Update(last)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// values writes the world's values for plain helm.
func values(t *testing.T, w *deploytest.World) string {
	t.Helper()
	file := t.TempDir() + "/values.json"
	text, err := json.Marshal(w.Values)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func installed(t *testing.T) *deploytest.World {
	t.Helper()
	w := deploytest.New(t, helm.Name, helm.New)
	plainHelm(t, w, "install", "app", w.Archive(), "--values", values(t, w), "--create-namespace", "--wait")
	return w
}

func TestAdoptWhatHelmMade(t *testing.T) {
	w := installed(t)
	w.CheckAdopted("helm", protocol.ExitUnsupported)
	pods := w.Pods()
	plainHelm(t, w, "upgrade", "app", w.Archive(), "--values", values(t, w), "--wait")
	if history := plainHelm(t, w, "history", "app"); strings.Contains(history, "harmony:") || !slices.Equal(pods, w.Pods()) {
		t.Errorf("pods %v, before %v\n%s", w.Pods(), pods, history)
	}
	w.Refused(protocol.ExitUnsupported, "--adopt")
	w.CheckAdoptedAgain()
}

// An adoption that is killed at any moment is finished by the next one. The Lease of one
// that was killed is left until the next change.
func TestAdoptKilled(t *testing.T) {
	w := installed(t)
	w.CheckAdoptKilled(200*time.Millisecond, 400*time.Millisecond, 800*time.Millisecond)
	w.NoLease()
}

func TestAdoptedByTwoAtOnce(t *testing.T) {
	w := installed(t)
	w.CheckDiffOfOthers()
	w.CheckAdoptedAtOnce("helm")
	w.NoLease()
}

func TestAdoptPlainObjects(t *testing.T) {
	w := deploytest.New(t, helm.Name, helm.New)
	rendered := plainHelm(t, w, "template", "app", w.Archive(), "--values", values(t, w))
	create(t, w, rendered)
	w.CheckAdopted("kubectl", protocol.ExitUnsupported)
}

func TestAdoptRefuses(t *testing.T) {
	w := deploytest.New(t, helm.Name, helm.New)
	folder := t.TempDir()
	if err := os.WriteFile(folder+"/Chart.yaml", []byte("apiVersion: v2\nname: other\nversion: 1.0.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plainHelm(t, w, "install", "app", folder, "--create-namespace")
	w.Adopt = capability.AdoptSameChart
	w.Refused(protocol.ExitUnsupported, "of the chart other", "--adopt=any-chart")
	setPending(t, w)
	w.Adopt = capability.AdoptAnyChart
	if _, err := w.Try(t.Context()); protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), "pending-upgrade by helm") {
		t.Errorf("%v", err)
	}
}
