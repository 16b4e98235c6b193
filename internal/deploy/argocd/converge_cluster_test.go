package argocd

import (
	"context"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestKilledInMidDeploy(t *testing.T) {
	w := newWorld(t)
	for i, after := range []time.Duration{400, 900, 1400, 2000, 2700} {
		w.NextImage("1.0." + string(rune('1'+i)))
		w.KillAfter(after * time.Millisecond)
		result, err := w.Try(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if result.Image != w.Image.Digest {
			t.Errorf("image %s, want %s", result.Image, w.Image.Digest)
		}
		w.Deploy(protocol.OutcomeUnchanged)
	}
	w.noLease()
}

// A process that was killed left an operation that never ends by itself.
func TestKilledInAHook(t *testing.T) {
	w := newWorld(t)
	w.Deploy(protocol.OutcomeInstalled)
	w.hook(w.Image.FullName() + "@sha256:" + "00000000000000000000000000000000000000000000000000000000000000ff")
	w.KillAfter(2 * time.Second)
	delete(w.Templates, "hook.yaml")
	w.NextImage("1.1.0")
	w.Deploy(protocol.OutcomeUpgraded)
}

func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	w.Deploy(protocol.OutcomeInstalled)
	w.NextImage("1.1.0")
	w.Chart()
	var both sync.WaitGroup
	results := make([]protocol.DeployResult, 2)
	errs := make([]error, 2)
	for i := range results {
		both.Go(func() { results[i], errs[i] = w.Try(t.Context()) })
	}
	both.Wait()
	outcomes := map[protocol.Outcome]int{}
	for i := range results {
		if errs[i] != nil {
			t.Error(errs[i])
		}
		outcomes[results[i].Outcome]++
	}
	if outcomes[protocol.OutcomeUpgraded] != 1 || outcomes[protocol.OutcomeUnchanged] != 1 {
		t.Errorf("outcomes %v, want one upgraded and one unchanged", outcomes)
	}
	if !w.Told("wait", "is being worked on by") {
		t.Error("the one that waits does not say so")
	}
	if n := w.syncs(); n != 2 {
		t.Errorf("%d syncs, want 2", n)
	}
	w.noLease()
}

func TestOutageOfTenSeconds(t *testing.T) {
	w := newWorld(t)
	w.Settings["destination"] = map[string]any{"server": w.Cluster.Rest.Host}
	g := w.Cluster.Gate(t)
	// Ready only after the outage.
	w.Replace("path: /}", "path: /}, initialDelaySeconds: 8")
	time.AfterFunc(1500*time.Millisecond, g.Shut)
	time.AfterFunc(11500*time.Millisecond, g.Open)
	result, err := w.TryWith(t.Context(), w.Through(g))
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != protocol.OutcomeInstalled {
		t.Errorf("outcome %s, want installed", result.Outcome)
	}
	w.noLease()
}

func TestUnreachableServer(t *testing.T) {
	w := newWorld(t)
	a := w.AdapterWith(&conn.Flags{Kubeconfig: w.Cluster.Kubeconfig, Server: "https://127.0.0.1:1"})
	_, err := w.TryWith(t.Context(), a)
	if protocol.ExitCode(err) != protocol.ExitRetryable {
		t.Errorf("%v: exit code %d, want %d", err, protocol.ExitCode(err), protocol.ExitRetryable)
	}
}

func TestForeignOperationInProgress(t *testing.T) {
	w := newWorld(t)
	w.Templates["hook.yaml"] = slowHook
	w.Deploy(protocol.OutcomeInstalled)
	// All that takes time comes first: the operation lasts as long as its hook.
	delete(w.Templates, "hook.yaml")
	w.NextImage("1.1.0")
	chart := w.Chart()
	w.edit(func(object *unstructured.Unstructured) {
		set(t, object, map[string]any{
			"initiatedBy": map[string]any{"username": "somebody"}, "sync": map[string]any{},
		}, "operation")
	})
	result, err := w.Adapter().Deploy(t.Context(), w.Spec(), deploytest.Target, w.Image, chart)
	if err != nil || result.Outcome != protocol.OutcomeUpgraded {
		t.Fatalf("%+v, %v", result, err)
	}
	if !w.Told("wait", "operation of somebody in progress") {
		t.Error("it does not say whose operation it waits for")
	}
	if n := w.syncs(); n != 3 {
		t.Errorf("%d syncs, want 3: the other operation came to its end", n)
	}
}

// slowHook is a hook of a pod, which keeps an operation going for six seconds or more.
const slowHook = `apiVersion: v1
kind: Pod
metadata:
  name: slow
  annotations: {argocd.argoproj.io/hook: PreSync, argocd.argoproj.io/hook-delete-policy: BeforeHookCreation}
spec:
  restartPolicy: Never
  activeDeadlineSeconds: 30
  terminationGracePeriodSeconds: 0
  containers:
  - {name: slow, image: "{{ .Values.image }}", env: [{name: EXIT, value: "0"}, {name: AFTER, value: "6"}]}
`

func TestDriftIsRepaired(t *testing.T) {
	w := newWorld(t)
	w.Deploy(protocol.OutcomeInstalled)
	other := w.Image
	other.Digest = "sha256:" + "1111111111111111111111111111111111111111111111111111111111111111"
	drift := `{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"` + other.String() + `"}]}}}}`
	w.PatchDeployment(drift)
	w.Deploy(protocol.OutcomeUpgraded)
	w.Deploy(protocol.OutcomeUnchanged)

	w.Settings["drift"] = "report"
	w.PatchDeployment(`{"spec":{"template":{"metadata":{"labels":{"added":"by-hand"}},"spec":{"terminationGracePeriodSeconds":0}}}}`)
	w.eventually("Argo CD sees the change", func() bool {
		status, _, _ := unstructured.NestedString(w.application().Object, "status", "sync", "status")
		return status == "OutOfSync"
	})
	if result := w.Deploy(protocol.OutcomeUnchanged); len(result.Drift) != 1 || result.Drift[0] != "deployment/app was changed" {
		t.Errorf("drift %q", result.Drift)
	}
}

func TestSelfHealIsNotFought(t *testing.T) {
	w := newWorld(t)
	w.Deploy(protocol.OutcomeInstalled)
	w.edit(func(object *unstructured.Unstructured) {
		set(t, object, map[string]any{"selfHeal": true, "prune": true}, "spec", "syncPolicy", "automated")
	})
	w.NextImage("1.1.0")
	good := w.Deploy(protocol.OutcomeUpgraded)
	if n := w.syncs(); n != 2 {
		t.Errorf("%d syncs, want 2", n)
	}
	w.NextImage("1.2.0")
	w.breakApp()
	result := w.Fails(50*time.Second, protocol.ExitFailed, "rolled back to version")
	if result.Outcome != protocol.OutcomeRolledBack || result.Image != good.Image {
		t.Errorf("result %+v, want rolled-back", result)
	}
	if _, kept, _ := unstructured.NestedMap(w.application().Object, "spec", "syncPolicy", "automated"); !kept {
		t.Error("the automated sync that somebody set is gone")
	}
}

// An Application that no controller looks at, as it is in another namespace
// than those of Argo CD.
func TestControllerThatDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	namespace := w.Cluster.Namespace(t)
	w.Settings["namespace"], w.Settings["timeout"] = namespace, "12s"
	project, err := w.projects.Get(t.Context(), "default", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	there := newWorldIn(w.World, namespace)
	project = &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": "AppProject", "metadata": map[string]any{"name": "default"}, "spec": project.Object["spec"],
	}}
	if _, err := there.projects.Create(t.Context(), project, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.Settings["destination"] = map[string]any{"server": w.Cluster.Rest.Host}
	w.Fails(10*time.Second, protocol.ExitRetryable, "does not answer", "application controller")
	list, err := there.applications.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 0 {
		t.Errorf("%d Applications were left behind", len(list.Items))
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	w.Replace("path: /}", "path: /}, initialDelaySeconds: 30")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(4*time.Second, cancel)
	start := time.Now()
	_, err := w.Try(ctx)
	if protocol.ExitCode(err) != protocol.ExitInterrupted {
		t.Errorf("%v: exit code %d, want %d", err, protocol.ExitCode(err), protocol.ExitInterrupted)
	}
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	w.noLease()
}
