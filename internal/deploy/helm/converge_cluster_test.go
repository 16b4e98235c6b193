package helm

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/release"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/protocol"
)

func (w *world) getDeployment() *appsv1.Deployment {
	w.t.Helper()
	d, err := w.cluster.Client.AppsV1().Deployments(w.namespace).Get(w.t.Context(), appName, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) patchDeployment(patch string) {
	w.t.Helper()
	_, err := w.cluster.Client.AppsV1().Deployments(w.namespace).
		Patch(w.t.Context(), appName, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestDriftIsRepaired(t *testing.T) {
	w := newWorld(t)
	w.deploy(protocol.OutcomeInstalled, 1)

	other := clustertest.Push(t, "harmony-test/app", "0.9.0")
	w.patchDeployment(`{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"` + other.String() + `"}]}}}}`)
	w.deploy(protocol.OutcomeUpgraded, 2)
	if got := w.getDeployment().Spec.Template.Spec.Containers[0].Image; got != w.image.String() {
		t.Errorf("image %s, want %s", got, w.image)
	}

	w.patchDeployment(`{"spec":{"replicas":0}}`)
	w.deploy(protocol.OutcomeUpgraded, 3)

	if err := w.cluster.Client.CoreV1().Services(w.namespace).Delete(t.Context(), appName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.deploy(protocol.OutcomeUpgraded, 4)

	// What another controller adds is no drift, nor is another way to write the
	// same quantity, of which the chart has one.
	w.patchDeployment(`{"metadata":{"annotations":{"example.com/added":"yes"}}}`)
	w.deploy(protocol.OutcomeUnchanged, 4)
}

func TestDryRunChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.dryRun = true
	w.plans(protocol.OutcomeInstalled)
	_, err := w.cluster.Client.CoreV1().Namespaces().Get(t.Context(), w.namespace, metav1.GetOptions{})
	if err == nil {
		t.Fatal("a dry run made the namespace")
	}

	w.dryRun = false
	w.deploy(protocol.OutcomeInstalled, 1)

	w.dryRun = true
	w.plans(protocol.OutcomeUnchanged)
	w.values["replicas"] = float64(2)
	w.plans(protocol.OutcomeUpgraded)
	if n := *w.getDeployment().Spec.Replicas; n != 1 {
		t.Errorf("a dry run scaled to %d", n)
	}
	if n := len(w.history()); n != 1 {
		t.Errorf("history has %d revisions, want 1", n)
	}
}

func (w *world) plans(want protocol.Outcome) {
	w.t.Helper()
	result, err := w.try(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if result.Outcome != want || !result.Planned {
		w.t.Fatalf("plan: %+v, want %s", result, want)
	}
}

func TestPlainHelmUpgradeIsNoticed(t *testing.T) {
	w := newWorld(t)
	w.deploy(protocol.OutcomeInstalled, 1)
	helm, err := exec.LookPath("helm")
	if err != nil {
		t.Skip("needs the helm command")
	}
	chart := w.pack()
	command := exec.CommandContext(t.Context(), helm, "upgrade", appName, chart.Path, "-n", w.namespace, "--reuse-values", "--set", "replicas=2")
	command.Env = append(os.Environ(), "KUBECONFIG="+w.cluster.Kubeconfig)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("helm upgrade: %v\n%s", err, out)
	}
	w.deploy(protocol.OutcomeUpgraded, 3)
	if n := *w.getDeployment().Spec.Replicas; n != 1 {
		t.Errorf("%d replicas, want 1", n)
	}
}

func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	results := make([]protocol.DeployResult, 3)
	var group sync.WaitGroup
	for i := range results {
		group.Go(func() {
			var err error
			if results[i], err = w.try(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	outcomes := map[protocol.Outcome]int{}
	for _, r := range results {
		outcomes[r.Outcome]++
	}
	if outcomes[protocol.OutcomeInstalled] != 1 || outcomes[protocol.OutcomeUnchanged] != 2 {
		t.Errorf("outcomes %v, want one installed, the others unchanged", outcomes)
	}
	if n := len(w.history()); n != 1 {
		t.Errorf("history has %d revisions, want 1", n)
	}
	w.noLease()
}

func (w *world) noLease() {
	w.t.Helper()
	leases, err := w.cluster.Client.CoordinationV1().Leases(w.namespace).List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, l := range leases.Items {
		w.t.Errorf("lease %s is left, held by %s", l.Name, *l.Spec.HolderIdentity)
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	w.replaceTemplate("path: /}", "path: /, scheme: HTTPS}") // never ready
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(4*time.Second, cancel)
	start := time.Now()
	_, err := w.try(ctx)
	if !errors.Is(err, context.Canceled) || protocol.ExitCode(err) != protocol.ExitInterrupted {
		t.Errorf("error %v with exit code %d, want a cancelled context", err, protocol.ExitCode(err))
	}
	if took := time.Since(start); took > 6*time.Second {
		t.Errorf("it took %s to cancel", took)
	}
	w.noLease()
}

func TestCancelInHook(t *testing.T) {
	w := newWorld(t)
	// A hook that never ends.
	w.templates["job.yaml"] = strings.Replace(jobTemplate(`annotations: {helm.sh/hook: "pre-install,pre-upgrade"}`), `{name: EXIT, value: "4"}`, `{name: PORT, value: "1234"}`, 1)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(4*time.Second, cancel)
	_, err := w.try(ctx)
	if protocol.ExitCode(err) != protocol.ExitInterrupted {
		t.Errorf("error %v with exit code %d, want a cancelled context", err, protocol.ExitCode(err))
	}
	for _, r := range w.history() {
		if r.Info.Status.IsPending() {
			t.Errorf("revision %d is left %s", r.Version, r.Info.Status)
		}
	}
	w.noLease()
}

// killed is the input of the process that the kill test ends.
type killed struct {
	Kubeconfig, Namespace string
	App                   protocol.AppSpec
	Metadata              protocol.Metadata
	Image                 protocol.ImageRef
	Chart                 protocol.ChartRef
	Migrate               bool
}

const killedVariable = "HARMONY_TEST_DEPLOY"

// TestMain makes the test binary the process that is killed as well. The
// registry's credentials, which it does not ask for, are those of the pull secret.
func TestMain(m *testing.M) {
	if input := os.Getenv(killedVariable); input != "" {
		os.Exit(deployOnce(input))
	}
	sideBySide()
	os.Exit(withCredentials(m))
}

// sideBySide runs more tests at once than there are processors: they wait for
// the cluster most of the time.
func sideBySide() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", "4")
	}
}

const (
	registryUser     = "puller"
	registryPassword = "pull-secret-7f3a"
)

func withCredentials(m *testing.M) int {
	folder, err := os.MkdirTemp("", "harmony-test")
	if err == nil {
		defer os.RemoveAll(folder)
		file := filepath.Join(folder, "auth.json")
		auth := base64.StdEncoding.EncodeToString([]byte(registryUser + ":" + registryPassword))
		if err = os.WriteFile(file, []byte(`{"auths":{"`+os.Getenv("HARMONY_TEST_REGISTRY")+`":{"auth":"`+auth+`"}}}`), 0o600); err == nil {
			err = os.Setenv("REGISTRY_AUTH_FILE", file)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// kills is how many moments the kill test tries; HARMONY_TEST_KILLS says more.
const kills = 12

// killers is how many releases are killed side by side.
const killers = 3

// Whenever a deploy is killed, the next one needs no hand.
func TestKilledAtAnyMoment(t *testing.T) {
	n := kills
	if text := os.Getenv("HARMONY_TEST_KILLS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	for k := range killers {
		t.Run(strconv.Itoa(k), func(t *testing.T) {
			w := newWorld(t)
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			w.killed(rand.New(rand.NewPCG(seed, 0)), (n+killers-1-k)/killers)
		})
	}
}

func (w *world) killed(random *rand.Rand, times int) {
	w.t.Helper()
	hook := jobTemplate(`annotations: {helm.sh/hook: "pre-install,pre-upgrade"}`)
	w.templates["job.yaml"] = strings.ReplaceAll(hook, `"4"`, `"0"`)
	images := []protocol.ImageRef{w.image, clustertest.Push(w.t, "harmony-test/app", "1.1.0")}
	for i := range times {
		w.image = images[random.IntN(2)]
		w.killAfter(time.Duration(50+random.IntN(3500)) * time.Millisecond)
		if i%2 == 0 && i < times-1 {
			continue // another one is killed over what this one left
		}
		if random.IntN(2) == 0 {
			w.image = images[random.IntN(2)]
		}
		if w.converges() == protocol.OutcomeUnchanged {
			// It was killed when all was done but for giving back its lease. The next
			// change takes that from it.
			if w.image.Digest == images[0].Digest {
				w.image = images[1]
			} else {
				w.image = images[0]
			}
			w.converges()
		}
		w.noLease()
	}
}

// converges deploys, after which nothing is left pending of what was killed.
func (w *world) converges() protocol.Outcome {
	w.t.Helper()
	result, err := w.try(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if result.Image != w.image.Digest {
		w.t.Errorf("image %s, want %s", result.Image, w.image.Digest)
	}
	history := w.history()
	for _, r := range history {
		if r.Info.Status.IsPending() {
			w.t.Errorf("revision %d of %d is left %s", r.Version, len(history), r.Info.Status)
		}
	}
	if last := history[len(history)-1]; last.Info.Status != release.StatusDeployed {
		w.t.Errorf("the last revision is %s", last.Info.Status)
	}
	w.deploy(protocol.OutcomeUnchanged, result.Revision)
	return result.Outcome
}

// killAfter runs a deploy in another process and kills it after a while.
func (w *world) killAfter(while time.Duration) {
	w.t.Helper()
	spec := w.spec()
	input, err := json.Marshal(killed{w.cluster.Kubeconfig, w.namespace, spec, spec.Metadata, w.image, w.pack(), false})
	if err != nil {
		w.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	command := exec.Command(self)
	command.Env = append(os.Environ(), killedVariable+"="+string(input))
	if err := command.Start(); err != nil {
		w.t.Fatal(err)
	}
	time.Sleep(while)
	if err := command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		w.t.Fatal(err)
	}
	err = command.Wait()
	w.t.Logf("killed after %s: %v", while, err)
}
