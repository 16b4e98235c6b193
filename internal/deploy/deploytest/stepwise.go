package deploytest

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// rolloutTemplate is the Deployment as a Rollout of Argo Rollouts, whose new pods wait
// to be let on after the first.
var rolloutTemplate = strings.NewReplacer(
	"apps/v1", "argoproj.io/v1alpha1", "kind: Deployment", "kind: Rollout",
	"  selector: {matchLabels", `  strategy: {canary: {maxSurge: 1, maxUnavailable: 0, steps: [{setWeight: 50}, {pause: {}}]}}
  progressDeadlineSeconds: 60
  progressDeadlineAbort: true
  selector: {matchLabels`,
).Replace(DeploymentTemplate)

// Stepwise makes the chart one of a Rollout with two pods, and starts the controller of
// Argo Rollouts for the namespace of the test alone.
func (w *World) Stepwise() {
	w.T.Helper()
	w.Templates["app.yaml"], w.Values["replicas"] = rolloutTemplate, float64(2)
	w.kit("rollouts-controller").Start("rollouts-controller", "rollouts-controller", nil,
		"--kubeconfig="+w.Cluster.Kubeconfig, "--namespaced", "--namespace="+w.Namespace, "--leader-elect=false",
		"--metricsPort="+w.freePort(), "--healthzPort="+w.freePort(), "--loglevel=warn")
}

// kit has a controller of the test cluster's kit. Another cluster has none.
func (w *World) kit(controller string) clustertest.Kit {
	w.T.Helper()
	k := clustertest.NewKit(w.T)
	if _, err := os.Stat(filepath.Join(k.Programs, controller)); err != nil && os.Getenv("CI") == "" {
		w.T.Skipf("needs the test cluster of the kit: %v", err)
	}
	return k
}

// freePort is a port on which nothing listens now.
func (w *World) freePort() string {
	w.T.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		w.T.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// PausesInSteps tests that a deploy of a Rollout ends as paused where the Rollout is, as
// often as it is tried, that it is proven once it was resumed, and that a deploy is
// taken back without the steps.
func (w *World) PausesInSteps() {
	w.T.Helper()
	w.Stepwise()
	first := w.Deploy(protocol.OutcomeInstalled)
	w.Version = "1.1.0"
	w.NextImage("1.1.0")
	for range 2 {
		paused := w.Deploy(protocol.OutcomePaused)
		if paused.Message != "rollout/app is paused at step 2 of 2, until it is resumed" {
			w.T.Errorf("the deploy tells %q", paused.Message)
		}
	}
	if count := w.podsByImage(AppName); count[first.Image] == 0 || count[w.Image.Digest] == 0 {
		w.T.Errorf("pods by image digest: %v, want some of %s and of %s", count, first.Image, w.Image.Digest)
	}
	w.NoLease()
	w.resumes("rollout/app: resumed; it was paused at step 2 of 2")
	second := w.Deploy(protocol.OutcomeUnchanged)
	w.OnlyPodsOf(second.Image, 2)

	second.PreviousImage, second.PreviousChart, second.PreviousRevision = first.Image, first.Chart, first.Revision
	back, err := w.back(second)
	if err != nil || back.Outcome != protocol.OutcomeRolledBack || back.Image != first.Image {
		w.T.Fatalf("got %+v, %v, want %+v", back, err, first)
	}
	w.OnlyPodsOf(first.Image, 2)
}

// resumes lets the Rollouts go on.
func (w *World) resumes(want string) {
	w.T.Helper()
	env := environment(w.name, w.Namespace, w.Settings, false, w.observe)
	base := delivery.Base{Flags: &conn.Flags{Kubeconfig: w.Cluster.Kubeconfig}, Env: env}
	c, err := base.Open(w.Spec(), Target)
	if err != nil {
		w.T.Fatal(err)
	}
	done, err := c.Resume(w.T.Context(), false)
	if err != nil || strings.Join(done, "\n") != want {
		w.T.Fatalf("resumed %q, %v, want %q", done, err, want)
	}
	if done, err := c.Resume(w.T.Context(), false); protocol.ExitCode(err) != protocol.ExitUnsupported {
		w.T.Errorf("resumed again: %q, %v", done, err)
	}
}

// AbortsAreTold tests that a deploy fails early whose Rollout is aborted, and says what
// goes on to serve; and that the release after it is not hindered.
func (w *World) AbortsAreTold() {
	w.T.Helper()
	w.Stepwise()
	w.Settings["rollback"] = false
	first := w.Deploy(protocol.OutcomeInstalled)
	w.Replace("progressDeadlineSeconds: 60", "progressDeadlineSeconds: 15")
	w.Version, w.Values["env"] = "1.1.0", []any{map[string]any{"name": "PORT", "value": "8081"}}
	w.Fails(time.Minute, protocol.ExitFailed, "rollout/app cannot become ready: aborted: RolloutAborted: ",
		"what served before goes on: 2 pods run ", "@"+first.Image)
	status, err := w.Adapter().(delivery.Adapter).Status(w.T.Context(), w.Spec(), Target)
	if err != nil || len(status) != 1 || status[0].Healthy || !strings.Contains(status[0].Message, "aborted") {
		w.T.Errorf("status %+v, %v", status, err)
	}
	result, err := w.Adapter().(delivery.Adapter).TakeBack(w.T.Context(), w.Spec(), Target, capability.Setback{
		Deployed: protocol.DeployResult{Revision: 2, Image: w.Image.Digest, Chart: w.Chart().Digest, PreviousImage: first.Image, PreviousChart: first.Chart, PreviousRevision: 1},
		Reason:   "it was aborted",
	}, func(protocol.DeployResult) {})
	if err != nil || result.Image != first.Image {
		w.T.Errorf("taken back: %+v, %v", result, err)
	}
	w.OnlyPodsOf(first.Image, 2)
}

// canary has Flagger look at the app's Deployment, and test each change for a moment. Its
// Service is Flagger's own.
const canary = `apiVersion: flagger.app/v1beta1
kind: Canary
metadata:
  name: {{ .Release.Name }}
  labels: {app.kubernetes.io/instance: {{ .Release.Name }}}
spec:
  targetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .Release.Name }}}
  progressDeadlineSeconds: 60
  service: {port: 80, targetPort: 8080}
  analysis: {interval: 10s, threshold: 1, iterations: 1}
`

// IsAnalysed tests that a deploy by Flagger is proven once the primary Deployment runs its
// image; that one that fails the analysis says so, and what serves; and that going back
// from it is no failure.
func (w *World) IsAnalysed() {
	w.T.Helper()
	deployment, _, _ := strings.Cut(DeploymentTemplate, "---")
	w.Templates["app.yaml"], w.Templates["canary.yaml"] = deployment, canary
	w.Settings["rollback"], w.Settings["timeout"] = false, "3m" // Flagger looks every ten seconds
	w.kit("flagger").Start("flagger", "flagger", nil, "-kubeconfig="+w.Cluster.Kubeconfig, "-namespace="+w.Namespace,
		"-mesh-provider=kubernetes", "-port="+w.freePort(), "-log-level=info")
	first := w.Deploy(protocol.OutcomeInstalled)
	w.serves(first.Image)
	w.Version = "1.1.0"
	w.NextImage("1.1.0")
	second := w.Deploy(protocol.OutcomeUpgraded)
	w.serves(second.Image)
	w.Deploy(protocol.OutcomeUnchanged) // although Flagger has scaled the Deployment down

	w.Templates["canary.yaml"] = strings.Replace(canary, "progressDeadlineSeconds: 60", "progressDeadlineSeconds: 15", 1)
	w.Version, w.Values["env"] = "1.2.0", []any{map[string]any{"name": "PORT", "value": "8081"}}
	w.NextImage("1.2.0")
	w.Fails(2*time.Minute, protocol.ExitFailed, "canary/app cannot become ready: failed: Canary analysis failed", "what served before goes on: 1 pods run ", second.Image)
	w.serves(second.Image)
	back, err := w.Adapter().(delivery.Adapter).Rollback(w.T.Context(), w.Spec(), Target, "1.1.0")
	if err != nil || back.Image != second.Image {
		w.T.Fatalf("rolled back: %+v, %v", back, err)
	}
	w.serves(second.Image)
}

// serves checks what the pods run that Flagger lets serve.
func (w *World) serves(digest string) {
	w.T.Helper()
	if count := w.podsByImage(AppName + "-primary"); len(count) != 1 || count[digest] != 1 {
		w.T.Errorf("primary pods by image digest: %v, want one of %s", count, digest)
	}
}
