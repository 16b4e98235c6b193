package deploytest

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// irreversibleHook is a hook that says that there is no way back.
const irreversibleHook = `apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-migrate
  annotations: {helm.sh/hook: pre-upgrade, helm.sh/hook-delete-policy: "before-hook-creation,hook-succeeded", harmony.nationtech.io/irreversible: "true"}
spec:
  template: {spec: {restartPolicy: Never, containers: [{name: migrate, image: "{{ .Values.image }}", env: [{name: EXIT, value: "0"}]}]}}
`

// back takes the target back from a deploy.
func (w *World) back(deployed protocol.DeployResult) (protocol.DeployResult, error) {
	w.T.Helper()
	app := w.Spec()
	app.Version = deployed.Version
	start := time.Now()
	result, err := w.Adapter().(delivery.Adapter).TakeBack(w.T.Context(), app, Target,
		capability.Setback{Deployed: deployed, Reason: "check devices failed"}, func(protocol.DeployResult) {})
	w.T.Logf("taken back: %s to %s in %s: %v", result.Outcome, result.RunningVersion, time.Since(start).Round(time.Millisecond), err)
	return result, err
}

// TakesBack tests that the adapter brings back what ran before a deploy whose checks
// failed, proven, and nothing else: not over what somebody else released since, and not
// what it does not know to have run before.
func (w *World) TakesBack() {
	w.T.Helper()
	w.NoDowngrade = true // which is not about going back
	first := w.Deploy(protocol.OutcomeInstalled)
	w.Values["replicas"], w.Version = float64(2), "1.1.0"
	w.NextImage("1.1.0")
	second := w.Deploy(protocol.OutcomeUpgraded)
	if second.PreviousImage != first.Image || second.PreviousChart != first.Chart || second.PreviousRevision != first.Revision || second.Irreversible != "" {
		w.T.Errorf("the deploy tells %+v, want that %+v ran before", second, first)
	}
	for range 2 { // again: the process may have been killed before it could tell
		result, err := w.back(second)
		if err != nil || result.Outcome != protocol.OutcomeRolledBack || result.Image != first.Image || result.Chart != first.Chart || result.RunningVersion != "1.0.0" {
			w.T.Fatalf("got %+v, %v, want %+v", result, err, first)
		}
		w.OnlyPodsOf(first.Image, 1)
	}
	w.NoLease()

	// Somebody else has released since.
	w.Version = "1.2.0"
	w.NextImage("1.2.0")
	third := w.Deploy(protocol.OutcomeUpgraded)
	w.refuses(second, "was changed since by somebody else")
	w.OnlyPodsOf(third.Image, 2)

	// What ran before is not what is kept.
	unknown := third
	unknown.PreviousChart, unknown.PreviousRevision = "sha256:"+strings.Repeat("0", 64), 77
	w.refuses(unknown, "does not keep the release that ran before")

	w.Templates["migrate.yaml"] = irreversibleHook
	if fourth := w.Deploy(protocol.OutcomeUpgraded); fourth.Irreversible != "Job app-migrate" {
		w.T.Errorf("irreversible: %q", fourth.Irreversible)
	}
	w.OnlyPodsOf(third.Image, 2)
}

func (w *World) refuses(deployed protocol.DeployResult, words string) {
	w.T.Helper()
	result, err := w.back(deployed)
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), words) || result.Outcome != "" {
		w.T.Errorf("got %+v, %v, want %q", result, err, words)
	}
}

// OnlyPodsOf fails the test unless so many pods of the app run the digest, and none
// another one. Pods that are being deleted do not count.
func (w *World) OnlyPodsOf(digest string, want int) {
	w.T.Helper()
	if count := w.podsByImage(AppName); len(count) != 1 || count[digest] != want {
		w.T.Errorf("pods by image digest: %v, want %d of %s", count, want, digest)
	}
}

// podsByImage counts the containers of the pods with that label by the digest that they
// run.
func (w *World) podsByImage(app string) map[string]int {
	w.T.Helper()
	pods, err := w.Cluster.Client.CoreV1().Pods(w.Namespace).List(w.T.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		w.T.Fatal(err)
	}
	count := map[string]int{}
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp != nil {
			continue
		}
		for _, status := range pod.Status.ContainerStatuses {
			_, id, _ := strings.Cut(status.ImageID, "@")
			count[id]++
		}
	}
	return count
}
