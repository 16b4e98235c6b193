package flux

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// TestMain makes the test binary the process that is killed as well.
func TestMain(m *testing.M) { os.Exit(deploytest.Main(m, New)) }

// world is a namespace with Flux.
type world struct {
	*deploytest.World
	client dynamic.Interface
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := deploytest.New(t, Name, New)
	client, err := dynamic.NewForConfig(w.Cluster.Rest)
	if err != nil {
		t.Fatal(err)
	}
	// Flux's finalizers go with its objects, before the namespace does.
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		for _, resource := range []schema.GroupVersionResource{releases, sources} {
			if err := client.Resource(resource).Namespace(w.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
				t.Errorf("delete %s: %v", resource.Resource, err)
			}
		}
	})
	return &world{World: w, client: client}
}

// nameOf is the name of the HelmRelease, or of the OCIRepository that it uses.
func (w *world) nameOf(resource schema.GroupVersionResource) string {
	w.T.Helper()
	if resource == releases {
		return deploytest.AppName
	}
	name, _, _ := unstructured.NestedString(w.get(releases).Object, "spec", "chartRef", "name")
	return name
}

func (w *world) get(resource schema.GroupVersionResource) *unstructured.Unstructured {
	w.T.Helper()
	object, err := w.client.Resource(resource).Namespace(w.Namespace).Get(w.T.Context(), w.nameOf(resource), metav1.GetOptions{})
	if err != nil {
		w.T.Fatal(err)
	}
	return object
}

func (w *world) patch(resource schema.GroupVersionResource, fieldManager, patch string) {
	w.T.Helper()
	_, err := w.client.Resource(resource).Namespace(w.Namespace).
		Patch(w.T.Context(), w.nameOf(resource), types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil {
		w.T.Fatal(err)
	}
}

// versions are the resource versions of both objects.
func (w *world) versions() [2]string {
	w.T.Helper()
	return [2]string{w.get(sources).GetResourceVersion(), w.get(releases).GetResourceVersion()}
}

// generations change with the specs only, and not with what Flux says.
func (w *world) generations() [2]int64 {
	w.T.Helper()
	return [2]int64{w.get(sources).GetGeneration(), w.get(releases).GetGeneration()}
}

func TestDeploy(t *testing.T) {
	w := newWorld(t)
	w.DryRun = true
	if result, err := w.Try(t.Context()); err != nil || result.Outcome != protocol.OutcomeInstalled || !result.Planned {
		t.Fatalf("plan: %+v, %v", result, err)
	}
	if _, err := w.Cluster.Client.CoreV1().Namespaces().Get(t.Context(), w.Namespace, metav1.GetOptions{}); err == nil {
		t.Fatal("a dry run made the namespace")
	}
	w.DryRun = false
	first := w.Deploy(protocol.OutcomeInstalled)
	if first.Revision != 1 || first.Adapter != Name || first.Namespace != w.Namespace {
		t.Errorf("result %+v", first)
	}

	before := w.versions()
	start := time.Now()
	w.Deploy(protocol.OutcomeUnchanged)
	t.Logf("unchanged in %s, with pushing the chart", time.Since(start))
	w.DryRun = true
	w.Deploy(protocol.OutcomeUnchanged)
	w.NextImage("1.1.0")
	w.Deploy(protocol.OutcomeUpgraded)
	w.DryRun = false
	if after := w.versions(); after != before {
		t.Errorf("resource versions %v became %v without a change", before, after)
	}

	second := w.Deploy(protocol.OutcomeUpgraded)
	if second.Revision != 2 || second.PreviousImage != first.Image || second.PreviousChart != first.Chart {
		t.Errorf("result %+v after %+v", second, first)
	}
	w.Deploy(protocol.OutcomeUnchanged)
	w.NoLease()
	list, err := w.client.Resource(sources).Namespace(w.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range list.Items {
		if source.GetName() != w.nameOf(sources) && source.GetDeletionTimestamp() == nil {
			t.Errorf("OCIRepository %s is left", source.GetName())
		}
	}
}

// A new chart and new values come into force together.
func TestChartAndValuesChangeTogether(t *testing.T) {
	w := newWorld(t)
	w.Deploy(protocol.OutcomeInstalled)
	w.NextImage("1.1.0")
	w.Values["replicas"] = float64(2)
	if r := w.Deploy(protocol.OutcomeUpgraded); r.Revision != 2 {
		t.Errorf("revision %d, want 2", r.Revision)
	}
	delete(w.Values, "env")
	w.Replace("env: {{ toJson .Values.env }}", "env: []")
	if r := w.Deploy(protocol.OutcomeUpgraded); r.Revision != 3 {
		t.Errorf("revision %d, want 3", r.Revision)
	}
	values, _, _ := unstructured.NestedMap(w.get(releases).Object, "spec", "values")
	if _, left := values["env"]; left {
		t.Errorf("a value that is gone is still in %v", values)
	}
}

func TestDriftIsRepaired(t *testing.T) {
	w := newWorld(t)
	w.Deploy(protocol.OutcomeInstalled)
	other := clustertest.Push(t, "harmony-test/app", "0.9.0")
	edit := `{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"` + other.String() + `"}]}}}}`
	w.PatchDeployment(edit)
	w.Deploy(protocol.OutcomeUnchanged)
	if got := w.Deployment().Spec.Template.Spec.Containers[0].Image; got != w.Image.String() {
		t.Errorf("image %s, want %s", got, w.Image)
	}

	const scale = `{"spec":{"replicas":0}}`
	w.PatchDeployment(scale)
	if r := w.Deploy(protocol.OutcomeUnchanged); len(r.Drift) > 0 || *w.Deployment().Spec.Replicas != 1 || !w.Told("drift", "Deployment app was changed: Flux is asked") {
		t.Errorf("%d replicas, drift %v", *w.Deployment().Spec.Replicas, r.Drift)
	}

	w.Settings["drift"] = "report"
	w.Deploy(protocol.OutcomeUnchanged)
	w.PatchDeployment(`{"metadata":{"labels":{"app.kubernetes.io/instance":"other"}}}`)
	if r := w.Deploy(protocol.OutcomeUnchanged); len(r.Drift) != 1 || r.Drift[0] != "Deployment app was changed" {
		t.Errorf("drift %v", r.Drift)
	}
	w.Settings["driftIgnore"] = []any{"/metadata/labels/app.kubernetes.io~1instance"}
	if r := w.Deploy(protocol.OutcomeUnchanged); len(r.Drift) > 0 {
		t.Errorf("drift %v of a field that others may change", r.Drift)
	}
	w.PatchDeployment(edit)
	w.Fails(30*time.Second, protocol.ExitFailed, other.Digest)
}

func TestFailingUpgradeIsRolledBack(t *testing.T) {
	w := newWorld(t)
	w.Settings["timeout"] = "20s"
	first := w.Deploy(protocol.OutcomeInstalled)
	w.NextImage("1.1.0")
	good := w.Values["env"]
	w.Values["env"] = []any{
		map[string]any{"name": "SAY", "value": "cannot open the book"},
		map[string]any{"name": "EXIT", "value": "3"},
	}
	for i := range 2 { // the same again is tried again, and fails again
		result := w.Fails(90*time.Second, protocol.ExitFailed, "HelmRelease", "deadline exceeded", "deployment/app", "cannot open the book")
		if result.Outcome != protocol.OutcomeRolledBack || result.Image != first.Image || result.Chart != first.Chart {
			t.Errorf("result %+v, want rolled back to %+v", result, first)
		}
		if want := first.Revision + 2*(i+1); result.Revision != want {
			t.Errorf("revision %d, want %d: one attempt and its rollback", result.Revision, want)
		}
		if got := w.Deployment().Spec.Template.Spec.Containers[0].Image; !strings.HasSuffix(got, first.Image) {
			t.Errorf("%s runs, want %s", got, first.Image)
		}
	}
	if !w.Told("rollout", "cannot open the book") {
		t.Error("the reason was not told before Flux gave up")
	}
	// Flux is told to keep what it went back to.
	back, err := w.Adapter().(*adapter).Rollback(t.Context(), w.Spec(), deploytest.Target, "")
	if err != nil || back.Image != first.Image || back.Chart != first.Chart || !isReady(w.get(releases)) {
		t.Errorf("rollback after Flux went back: %+v, %v", back, err)
	}
	w.Values["env"] = good
	w.Deploy(protocol.OutcomeUpgraded)
	w.NoLease()
}

func isReady(o *unstructured.Unstructured) bool {
	s, err := newSeen(o)
	return err == nil && s.settled()
}

func TestFailureWithoutRollbackStopsEarly(t *testing.T) {
	w := newWorld(t)
	w.Settings["rollback"], w.Settings["failFast"] = false, true
	w.Values["env"] = []any{map[string]any{"name": "EXIT", "value": "3"}}
	w.Fails(45*time.Second, protocol.ExitFailed, "CrashLoopBackOff", "exit code 3")
	// Flux still waits for what failed: its pods are no reason to stop again.
	w.Values["env"] = []any{}
	w.Deploy(protocol.OutcomeInstalled)
}

func TestWhatCannotBeFetchedStopsEarly(t *testing.T) {
	w := newWorld(t)
	chart := w.Chart()
	chart.Digest = "sha256:" + strings.Repeat("0", 64)
	_, err := w.Adapter().Deploy(t.Context(), w.Spec(), deploytest.Target, w.Image, chart)
	t.Logf("%v", err)
	if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), "cannot fetch the chart") {
		t.Errorf("error %v", err)
	}
	w.Deploy(protocol.OutcomeInstalled)
}

func TestChartThatCannotRenderStopsEarly(t *testing.T) {
	w := newWorld(t)
	w.Replace("replicas: {{ .Values.replicas }}", `replicas: {{ required "how many?" .Values.absent }}`)
	w.Fails(30*time.Second, protocol.ExitFailed, "how many?")
}

func TestSuspendedIsRefused(t *testing.T) {
	w := newWorld(t)
	w.Deploy(protocol.OutcomeInstalled)
	for _, resource := range []schema.GroupVersionResource{releases, sources} {
		w.patch(resource, "flux", `{"spec":{"suspend":true}}`)
		before := w.generations()
		w.Fails(15*time.Second, protocol.ExitFailed, "suspended by flux")
		if after := w.generations(); after != before {
			t.Errorf("generations %v became %v", before, after)
		}
		w.patch(resource, "flux", `{"spec":{"suspend":null}}`)
	}
	w.Deploy(protocol.OutcomeUnchanged)
}

func TestForeignObjects(t *testing.T) {
	w := newWorld(t)
	w.Deploy(protocol.OutcomeInstalled)
	// Somebody else takes both objects over as they are.
	for _, resource := range []schema.GroupVersionResource{sources, releases} {
		w.patch(resource, "kustomize-controller", `{"metadata":{"managedFields":[{}]}}`)
	}
	before := w.generations()
	w.Deploy(protocol.OutcomeUnchanged)
	w.NextImage("1.1.0")
	w.Fails(15*time.Second, protocol.ExitFailed, "not by harmony", "HelmRelease")
	if after := w.generations(); after != before {
		t.Errorf("generations %v became %v", before, after)
	}
	w.Settings["force"] = true
	w.Deploy(protocol.OutcomeUpgraded)
}

// A field that somebody else set is told, with its owner, and left alone.
func TestFieldConflictIsTold(t *testing.T) {
	w := newWorld(t)
	w.Deploy(protocol.OutcomeInstalled)
	w.patch(releases, "kubectl-edit", `{"spec":{"interval":"7m"}}`)
	w.Fails(15*time.Second, protocol.ExitFailed, "kubectl-edit", "spec.interval")
	w.Settings["force"] = true
	w.Deploy(protocol.OutcomeUnchanged)
}

func TestKilledAndRunAgain(t *testing.T) {
	w := newWorld(t)
	for i, while := range []time.Duration{300 * time.Millisecond, 900 * time.Millisecond, 1800 * time.Millisecond} {
		w.NextImage("1." + strconv.Itoa(i) + ".0")
		w.KillAfter(while)
		if result, err := w.Try(t.Context()); err != nil || result.Image != w.Image.Digest {
			t.Fatalf("deploy after a kill: %+v, %v", result, err)
		}
		w.Deploy(protocol.OutcomeUnchanged)
		w.NoLease()
	}
}

func TestTwoAtOnce(t *testing.T) {
	w := newWorld(t)
	w.Chart() // not pushed by all at once
	outcomes := map[protocol.Outcome]int{}
	var mu sync.Mutex
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			result, err := w.Try(t.Context())
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			outcomes[result.Outcome]++
			mu.Unlock()
		})
	}
	group.Wait()
	if outcomes[protocol.OutcomeInstalled] != 1 || outcomes[protocol.OutcomeUnchanged] != 2 {
		t.Errorf("outcomes %v, want one installed, the others unchanged", outcomes)
	}
	if !w.Told("wait", "is being worked on by process") {
		t.Error("no event told whom it waited for")
	}
	w.NoLease()
}

func TestOutageOfTenSeconds(t *testing.T) {
	w := newWorld(t)
	g := w.Cluster.Gate(t)
	// Ready only after the outage.
	w.Replace("path: /}", "path: /}, initialDelaySeconds: 15")
	a := w.Through(g)
	w.Chart()
	time.AfterFunc(1500*time.Millisecond, g.Shut)
	time.AfterFunc(11500*time.Millisecond, g.Open)
	result, err := w.TryWith(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	if result.Outcome != protocol.OutcomeInstalled || result.Image != w.Image.Digest {
		t.Errorf("result %+v, want installed", result)
	}
	w.NoLease()
}

func TestUnreachableServer(t *testing.T) {
	w := newWorld(t)
	g := w.Cluster.Gate(t)
	g.Shut()
	start := time.Now()
	_, err := w.TryWith(t.Context(), w.Through(g))
	t.Logf("%v", err)
	if protocol.ExitCode(err) != protocol.ExitRetryable || time.Since(start) > 20*time.Second {
		t.Errorf("exit code %d after %s, want %d at once", protocol.ExitCode(err), time.Since(start), protocol.ExitRetryable)
	}
}

func TestCancel(t *testing.T) {
	w := newWorld(t)
	w.Replace("path: /}", "path: /, scheme: HTTPS}") // never ready
	w.Settings["timeout"] = "15s"
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(4*time.Second, cancel)
	start := time.Now()
	_, err := w.Try(ctx)
	if !errors.Is(err, context.Canceled) || protocol.ExitCode(err) != protocol.ExitInterrupted {
		t.Errorf("error %v with exit code %d, want a cancelled context", err, protocol.ExitCode(err))
	}
	if took := time.Since(start); took > 12*time.Second {
		t.Errorf("it took %s to cancel", took)
	}
	w.NoLease()
}

// A controller that cannot write its status does not answer.
func TestControllerThatDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	w.Settings["timeout"], w.Settings["rollback"] = "1s", false
	policies := w.Cluster.Client.AdmissionregistrationV1()
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: w.Namespace},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": w.Namespace}},
				ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Update},
					Rule:       admissionv1.Rule{APIGroups: []string{releases.Group}, APIVersions: []string{"*"}, Resources: []string{"helmreleases/status"}},
				}}},
			},
			Validations: []admissionv1.Validation{{Expression: "false"}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.Namespace},
		Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: w.Namespace, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
	}
	if _, err := policies.ValidatingAdmissionPolicies().Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := policies.ValidatingAdmissionPolicyBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if err := errors.Join(
			policies.ValidatingAdmissionPolicyBindings().Delete(ctx, w.Namespace, metav1.DeleteOptions{}),
			policies.ValidatingAdmissionPolicies().Delete(ctx, w.Namespace, metav1.DeleteOptions{}),
		); err != nil {
			t.Error(err)
		}
	})
	w.Fails(45*time.Second, protocol.ExitRetryable, "helm-controller has not answered")
	w.NoLease()
}

func TestLocalChartIsUnsupported(t *testing.T) {
	w := newWorld(t)
	chart := protocol.ChartRef{Path: "/tmp/app.tgz", Chart: "app", Digest: w.Image.Digest}
	_, err := w.Adapter().Deploy(t.Context(), w.Spec(), deploytest.Target, w.Image, chart)
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(protocol.HintOf(err), "helmRegistry") {
		t.Errorf("error %v, hint %q", err, protocol.HintOf(err))
	}
}
