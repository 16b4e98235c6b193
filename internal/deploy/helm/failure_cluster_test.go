package helm

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// fails deploys, which has to fail early, within so long on a machine that does nothing
// else, and to say all of the words.
func (w *world) fails(within time.Duration, code int, words ...string) {
	w.t.Helper()
	start := time.Now()
	result, err := w.try(w.t.Context())
	if err == nil {
		w.t.Fatalf("deploy: %+v, want an error", result)
	}
	if took := time.Since(start); took > deploytest.Slowest*within {
		w.t.Errorf("it took %s to fail, want at most %s", took, deploytest.Slowest*within)
	}
	if got := protocol.ExitCode(err); got != code {
		w.t.Errorf("exit code %d, want %d", got, code)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			w.t.Errorf("the error does not say %q", word)
		}
	}
	w.t.Logf("%v\nhint: %s", err, protocol.HintOf(err))
}

func TestImagePullErrorStopsEarly(t *testing.T) {
	w := newWorld(t)
	w.image.Digest = "sha256:" + strings.Repeat("0", 64)
	w.fails(20*time.Second, protocol.ExitFailed, "deployment/app", "container app", "Pull", "not found")

	// The same again finds the pod waiting for its next try, and does not make
	// another revision.
	w.fails(20*time.Second, protocol.ExitFailed, "not found")
	if n := len(w.history()); n != 1 {
		t.Errorf("history has %d revisions, want 1", n)
	}
	w.image = clustertest.Push(t, "harmony-test/app", "1.0.0")
	w.deploy(protocol.OutcomeUpgraded, 2)
}

func TestCrashLoopStopsEarlyWithLogs(t *testing.T) {
	w := newWorld(t)
	w.settings["failFast"] = true
	w.values["env"] = []any{
		map[string]any{"name": "SAY", "value": "cannot open the \x1b[31mbook"},
		map[string]any{"name": "EXIT", "value": "3"},
	}
	w.fails(45*time.Second, protocol.ExitFailed, "CrashLoopBackOff", "exit code 3", "cannot open the [31mbook")
	if n := len(w.history()); n != 1 {
		t.Errorf("history has %d revisions, want 1", n)
	}
}

func TestFailedJobStopsEarly(t *testing.T) {
	w := newWorld(t)
	w.templates["job.yaml"] = jobTemplate("")
	w.fails(30*time.Second, protocol.ExitFailed, "job/app-migrate", "exit code 4", "no such table")
}

func TestFailedHookStopsEarly(t *testing.T) {
	w := newWorld(t)
	w.templates["job.yaml"] = jobTemplate(`annotations: {helm.sh/hook: "pre-install,pre-upgrade"}`)
	w.fails(30*time.Second, protocol.ExitFailed, "hook", "job/app-migrate", "exit code 4", "no such table")

	// The failed hook's Job is still there when the next run starts.
	w.templates["job.yaml"] = strings.ReplaceAll(w.templates["job.yaml"], `"4"`, `"0"`)
	w.deploy(protocol.OutcomeUpgraded, 2)
	w.deploy(protocol.OutcomeUnchanged, 2)
}

func TestHookThatCannotStartStopsEarly(t *testing.T) {
	w := newWorld(t)
	job := jobTemplate(`annotations: {helm.sh/hook: "pre-install"}`)
	w.templates["job.yaml"] = strings.Replace(job, "{{ .Values.image }}", clustertest.Registry(t)+"/harmony-test/none:1", 1)
	w.fails(30*time.Second, protocol.ExitFailed, "hook", "job/app-migrate", "not found")
	if status := w.history()[0].Info.Status; status.IsPending() {
		t.Errorf("the release is left %s", status)
	}
}

// jobTemplate is a Job that fails at once.
func jobTemplate(metadata string) string {
	return `apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-migrate
  ` + metadata + `
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: migrate
        image: {{ .Values.image }}
        env: [{name: SAY, value: no such table}, {name: EXIT, value: "4"}]
`
}

func TestQuotaStopsEarly(t *testing.T) {
	for _, kind := range []string{"Deployment", "StatefulSet"} {
		t.Run(kind, func(t *testing.T) {
			w := newWorld(t)
			w.settings["failFast"] = true
			w.namespace = w.cluster.Namespace(t)
			if kind != "Deployment" {
				w.replaceTemplate("kind: Deployment", "kind: "+kind)
			}
			quota := &corev1.ResourceQuota{
				ObjectMeta: metav1.ObjectMeta{Name: "none"},
				Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}},
			}
			if _, err := w.cluster.Client.CoreV1().ResourceQuotas(w.namespace).Create(t.Context(), quota, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			w.fails(25*time.Second, protocol.ExitFailed, "FailedCreate", "exceeded quota")
		})
	}
}

func TestMissingSecretStopsEarly(t *testing.T) {
	w := newWorld(t)
	w.settings["failFast"] = true
	w.values["env"] = []any{map[string]any{
		"name": "TOKEN", "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": "absent", "key": "token"}},
	}}
	w.fails(30*time.Second, protocol.ExitFailed, "CreateContainerConfigError", `secret "absent" not found`)
}

func TestDeadlineSaysWhatIsMissing(t *testing.T) {
	w := newWorld(t)
	w.settings["timeout"] = "30s"
	w.replaceTemplate("path: /}", "path: /, scheme: HTTPS}")
	w.fails(35*time.Second, protocol.ExitFailed, "deployment/app", "not ready in time", "pod app-", "container app", "Readiness probe failed")
}

func TestChartThatIgnoresTheImage(t *testing.T) {
	w := newWorld(t)
	w.replaceTemplate("{{ .Values.image }}", "example.com/other:1")
	w.fails(5*time.Second, protocol.ExitInvalid, "does not use the image", w.image.Digest, "example.com/other:1")
	_, err := w.cluster.Client.CoreV1().Namespaces().Get(t.Context(), w.namespace, metav1.GetOptions{})
	if err == nil {
		t.Error("the namespace was made although nothing was to be touched")
	}
}
