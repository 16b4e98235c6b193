package fan

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/nationtech/harmony/internal/cluster/conn"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/internal/deploy/argocd"
	"github.com/nationtech/harmony/internal/deploy/delivery"
	"github.com/nationtech/harmony/internal/deploy/deploytest"
	"github.com/nationtech/harmony/internal/deploy/edge"
	"github.com/nationtech/harmony/internal/deploy/helm"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// fleetTemplate makes objects that need no pods, and on the real cluster, which
// alone has Argo CD, a Deployment as well.
const fleetTemplate = `apiVersion: v1
kind: ConfigMap
metadata: {name: app}
data: {version: {{ .Values.version | quote }}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: app}
spec:
  schedule: "0 0 1 1 *"
  suspend: true
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: app, image: {{ .Values.image }}}]}}}}
---
{{- if .Capabilities.APIVersions.Has "argoproj.io/v1alpha1" }}
` + deploytest.DeploymentTemplate + `{{- end }}
`

// realFleet are two API servers without nodes, eu and us, and the test cluster,
// real, with pods.
type realFleet struct {
	*deploytest.World
	clusters   map[string]clustertest.Cluster
	kubeconfig string
}

func newRealFleet(t *testing.T) *realFleet {
	t.Helper()
	w := deploytest.New(t, helm.Name, helm.New)
	servers := apiServers(t, "eu", "us")
	f := &realFleet{World: w, clusters: map[string]clustertest.Cluster{"eu": servers[0], "us": servers[1], "real": w.Cluster}}
	f.kubeconfig = join(t, f.clusters, map[string]string{"eu": `{"fleet":"shops"}`, "us": `{"fleet":"shops"}`, "real": `{"fleet":"hub"}`})
	f.Templates = map[string]string{"app.yaml": fleetTemplate}
	return f
}

// world is the fleet in a namespace of its own, for one test of several.
func (f *realFleet) world(t *testing.T, namespace string) *realFleet {
	t.Helper()
	w := deploytest.New(t, helm.Name, helm.New)
	w.Templates, w.Namespace, w.Values = f.Templates, namespace, maps.Clone(w.Values)
	f.clusters["real"].DeleteNamespace(t, namespace)
	w.Values["version"] = "1"
	return &realFleet{World: w, clusters: f.clusters, kubeconfig: f.kubeconfig}
}

// open makes the adapter.
func (f *realFleet) open(adapter string, multi protocol.MultiCluster) capability.ContinuousDelivery {
	f.T.Helper()
	return f.openAs(adapter, multi, false)
}

// openAs makes the adapter, for a dry run or not.
func (f *realFleet) openAs(adapter string, multi protocol.MultiCluster, dryRun bool) capability.ContinuousDelivery {
	f.T.Helper()
	multi.Namespace = f.Namespace
	env := capability.Environment{
		Topology: protocol.Topology{
			Metadata: protocol.Metadata{Name: "production"},
			Targets:  map[string]protocol.Target{deploytest.Target: {MultiCluster: &multi, NoDowngrade: &f.NoDowngrade}},
		},
		Provider: protocol.Provider{Adapter: adapter, Settings: f.Settings}, DryRun: dryRun, Adopt: f.Adopt,
		Progress: func(e protocol.Event) {
			f.T.Logf("%s %s %d/%d %s", time.Now().Format("05.000"), e.Phase, e.Current, e.Total, e.Message)
		},
	}
	open := Adapters(&Flags{Flags: conn.Flags{Kubeconfig: f.kubeconfig}}, map[string]delivery.Constructor{helm.Name: helm.New, argocd.Name: argocd.New}, edge.New, realChecks)[adapter]
	d, err := open(f.T.Context(), env)
	if err != nil {
		f.T.Fatal(err)
	}
	return d
}

// deploy delivers to the target.
func (f *realFleet) deploy(adapter string, multi protocol.MultiCluster) (protocol.DeployResult, told, error) {
	f.T.Helper()
	d := f.open(adapter, multi)
	results := told{}
	start := time.Now()
	result, err := d.(capability.ClusterDelivery).DeployEach(f.T.Context(), f.Spec(), deploytest.Target, f.Image, f.Chart(),
		func(r protocol.DeployResult) { results[r.Cluster] = r })
	f.T.Logf("deploy: %s, %+v in %s: %v", result.Outcome, result.Clusters, time.Since(start).Round(time.Millisecond), err)
	return result, results, err
}

// good deploys, which has to come to these numbers.
func (f *realFleet) good(adapter string, multi protocol.MultiCluster, want protocol.ClusterCount) told {
	f.T.Helper()
	result, each, err := f.deploy(adapter, multi)
	if err != nil {
		f.T.Fatalf("%v\nhint: %s", err, protocol.HintOf(err))
	}
	if *result.Clusters != want || result.Image != f.Image.Digest || result.Chart != f.Chart().Digest {
		f.T.Fatalf("%+v with image %s, want %+v", *result.Clusters, result.Image, want)
	}
	for name, r := range each {
		if r.Image != f.Image.Digest || r.Chart != f.Chart().Digest {
			f.T.Errorf("%s: image %s, chart %s", name, r.Image, r.Chart)
		}
	}
	return each
}

// version is what the app's ConfigMap says on a cluster.
func (f *realFleet) version(cluster string) string {
	f.T.Helper()
	found, err := f.clusters[cluster].Client.CoreV1().ConfigMaps(f.Namespace).Get(f.T.Context(), "app", metav1.GetOptions{})
	if err != nil {
		f.T.Fatal(err)
	}
	return found.Data["version"]
}

// forbid lets a cluster refuse version 2 of the app in the namespace.
func (f *realFleet) forbid(cluster string) (allow func()) {
	f.T.Helper()
	ctx, client, name := f.T.Context(), f.clusters[cluster].Client, "no-"+f.Namespace
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
		}}}},
		Validations: []admissionv1.Validation{{
			Expression: fmt.Sprintf("object.metadata.namespace != %q || !has(object.data) || !('version' in object.data) || object.data['version'] != '2'", f.Namespace),
			Message:    "version 2 is not wanted here",
		}},
	}}
	if _, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		f.T.Fatal(err)
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	if _, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		f.T.Fatal(err)
	}
	f.awaitPolicy(cluster, true)
	return func() {
		if err := client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			f.T.Fatal(err)
		}
		f.awaitPolicy(cluster, false)
	}
}

// awaitPolicy waits until the API server has taken the policy in.
func (f *realFleet) awaitPolicy(cluster string, forbidden bool) {
	f.T.Helper()
	try := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "try-"}, Data: map[string]string{"version": "2"}}
	ctx, cancel := context.WithTimeout(f.T.Context(), 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		_, err := f.clusters[cluster].Client.CoreV1().ConfigMaps(f.Namespace).Create(ctx, try, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if (err != nil) == forbidden && ctx.Err() == nil {
			return
		}
		select {
		case <-ctx.Done():
			f.T.Fatalf("cluster %s forbids: want %t, %v", cluster, forbidden, err)
		case <-ticker.C:
		}
	}
}

func TestRealClusters(t *testing.T) {
	fleet := newRealFleet(t)
	t.Run("helm", func(t *testing.T) { fleet.world(t, fleet.Namespace+"-h").helm() })
	t.Run("ApplicationSet", func(t *testing.T) { fleet.world(t, fleet.Namespace+"-a").applicationSet() })
}

// helm goes to the three clusters in two waves, as their own client.
func (f *realFleet) helm() {
	multi := protocol.MultiCluster{Contexts: []string{"eu"}, Selector: "fleet in (shops, hub)", Waves: protocol.Waves(1, "100%")}
	if each := f.good(helm.Name, multi, protocol.ClusterCount{Total: 3, Installed: 3}); each["real"].Context != "real" || each["us"].Revision != 1 {
		f.T.Errorf("results %+v", each)
	}
	f.good(helm.Name, multi, protocol.ClusterCount{Total: 3, Unchanged: 3})

	allow := f.forbid("us")
	f.Values["version"] = "2"
	f.NextImage("2.0.0")
	result, each, err := f.deploy(helm.Name, multi)
	if protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), "us: ") || !strings.Contains(err.Error(), "not wanted here") {
		f.T.Fatalf("%v with status %d", err, protocol.ExitCode(err))
	}
	if result.Outcome.Delivered() || each["eu"].Outcome != protocol.OutcomeUpgraded || each["real"].Outcome != protocol.OutcomeRolledBack || each["us"].Outcome.Delivered() {
		f.T.Errorf("verdict %s, results %+v", result.Outcome, each)
	}
	if f.version("eu") != "2" || f.version("us") != "1" || f.version("real") != "1" {
		f.T.Errorf("versions: eu %s, us %s, real %s", f.version("eu"), f.version("us"), f.version("real"))
	}
	if image := f.Deployment().Spec.Template.Spec.Containers[0].Image; strings.HasSuffix(image, f.Image.Digest) {
		f.T.Errorf("the real cluster's wave was given up, and it runs %s", image)
	}

	// Mended, the same command goes on where it stopped.
	allow()
	multi.Selector = "fleet=shops"
	if each := f.good(helm.Name, multi, protocol.ClusterCount{Total: 2, Upgraded: 1, Unchanged: 1}); each["eu"].Outcome != protocol.OutcomeUnchanged {
		f.T.Errorf("results %+v", each)
	}
	f.secrets("localhost", "us", "eu")
	f.good(helm.Name, protocol.MultiCluster{ArgoCD: f.argoClusters()}, protocol.ClusterCount{Total: 2, Unchanged: 2})
	f.givenBack(multi)
}

// argoClusters chooses the Secrets of this test.
func (f *realFleet) argoClusters() *protocol.ArgoCDClusters {
	return &protocol.ArgoCDClusters{Context: "real", Selector: "harmony-test/fleet=" + f.Namespace}
}

const argoNamespace = "argocd"

// secrets gives clusters to Argo CD, under a name of this machine: a server is
// one cluster to it, and two tests go there.
func (f *realFleet) secrets(host string, names ...string) {
	f.T.Helper()
	client := f.clusters["real"].Client.CoreV1().Secrets(argoNamespace)
	for _, name := range names {
		c := f.clusters[name]
		ca, err := os.ReadFile(c.Rest.CAFile)
		if err != nil {
			f.T.Fatal(err)
		}
		config, err := json.Marshal(map[string]any{"bearerToken": c.Rest.BearerToken, "tlsClientConfig": map[string]any{"caData": ca, "serverName": "kubernetes"}})
		if err != nil {
			f.T.Fatal(err)
		}
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name + "-" + f.Namespace, Labels: map[string]string{
				"argocd.argoproj.io/secret-type": "cluster", "harmony-test/fleet": f.Namespace,
			}},
			StringData: map[string]string{"name": name, "server": strings.Replace(c.Rest.Host, "127.0.0.1", host, 1), "config": string(config)},
		}
		_, err = client.Create(f.T.Context(), secret, metav1.CreateOptions{})
		if apierrors.IsNotFound(err) {
			f.T.Skipf("needs the test cluster with Argo CD: %v", err)
		}
		if err != nil {
			f.T.Fatal(err)
		}
		f.T.Cleanup(func() {
			if err := client.Delete(context.Background(), secret.Name, metav1.DeleteOptions{}); err != nil {
				f.T.Error(err)
			}
		})
	}
}

// applicationSet leaves the fan-out to Argo CD, whose ApplicationSet controller
// runs for this test only.
func (f *realFleet) applicationSet() {
	hub := f.clusters["real"]
	f.secrets("127.0.0.1", "us")
	f.progressiveSyncs(hub)
	kit := clustertest.NewKit(f.T)
	kit.Start("argocd", "argocd", []string{"ARGOCD_BINARY_NAME=argocd-applicationset-controller", "KUBECONFIG=" + hub.Kubeconfig},
		"--namespace="+argoNamespace, "--enable-progressive-syncs", "--loglevel=warn", "--metrics-addr=127.0.0.1:"+kit.Port(),
		"--probe-addr=127.0.0.1:"+kit.Port(), "--webhook-addr=127.0.0.1:"+kit.Port())
	client, err := dynamic.NewForConfig(hub.Rest)
	if err != nil {
		f.T.Fatal(err)
	}
	sets := client.Resource(schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applicationsets"}).Namespace(argoNamespace)
	f.T.Cleanup(func() {
		if err := sets.Delete(context.Background(), f.Namespace, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			f.T.Errorf("delete the ApplicationSet: %v", err)
		}
	})
	f.Settings = map[string]any{"context": "real", "application": f.Namespace, "applicationSet": true, "timeout": "2m"}
	multi := protocol.MultiCluster{Contexts: []string{"us", "real"}}

	f.good(argocd.Name, multi, protocol.ClusterCount{Total: 2, Installed: 2})
	if image := f.Deployment().Spec.Template.Spec.Containers[0].Image; !strings.HasSuffix(image, f.Image.Digest) {
		f.T.Errorf("the real cluster runs %s", image)
	}
	f.good(argocd.Name, multi, protocol.ClusterCount{Total: 2, Unchanged: 2})

	f.Values["version"] = "3"
	f.good(argocd.Name, multi, protocol.ClusterCount{Total: 2, Upgraded: 2})
	back, err := f.open(argocd.Name, multi).(delivery.Adapter).Rollback(f.T.Context(), f.Spec(), deploytest.Target, "")
	if err != nil || *back.Clusters != (protocol.ClusterCount{Total: 2, RolledBack: 2}) || f.version("us") != "1" || f.version("real") != "1" {
		f.T.Fatalf("rollback: %+v, %v", back, err)
	}

	// The first wave fails and goes back. Argo CD holds the second one, unless it
	// takes the state from before the change for the new one: then both go back.
	f.forbid("us")
	generation := f.Deployment().Generation
	f.Values["version"], f.Values["replicas"] = "2", float64(2)
	result, each, err := f.deploy(argocd.Name, multi)
	if err == nil || !strings.Contains(err.Error(), "us: ") || !strings.Contains(err.Error(), "not wanted here") || !strings.Contains(err.Error(), "rolled back to version 1.0.0") {
		f.T.Fatalf("%v", err)
	}
	second := protocol.OutcomeSkipped
	if f.Deployment().Generation != generation {
		second = protocol.OutcomeRolledBack
	}
	if result.Outcome != protocol.OutcomeRolledBack || each["us"].Outcome != protocol.OutcomeRolledBack || each["real"].Outcome != second {
		f.T.Errorf("verdict %s, the second wave %s, results %+v", result.Outcome, second, each)
	}
	if f.version("us") != "1" || f.version("real") != "1" {
		f.T.Errorf("versions: us %s, real %s", f.version("us"), f.version("real"))
	}
	f.takenBackBySet(multi)
	f.removedFromSet(multi)
	if _, err := sets.Get(f.T.Context(), f.Namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		f.T.Errorf("the ApplicationSet after the uninstall: %v", err)
	}
}

// takenBackBySet takes a new version back from the clusters of an ApplicationSet, whose
// checks failed, and tries an older one where that is refused.
func (f *realFleet) takenBackBySet(multi protocol.MultiCluster) {
	f.T.Helper()
	f.Values["version"], f.Values["replicas"] = "1", float64(1)
	deployed, before, err := f.deploy(argocd.Name, multi)
	if err != nil {
		f.T.Fatal(err)
	}
	version := f.Version
	f.Version, f.Values["version"] = "1.1.0", "4"
	f.NextImage("1.1.0")
	deployed, each, err := f.deploy(argocd.Name, multi)
	if err != nil || deployed.Clusters.Upgraded != 2 || f.version("us") != "4" {
		f.T.Fatalf("deploy of 1.1.0: %+v, %v, us has %s", deployed, err, f.version("us"))
	}
	from := capability.Setback{Deployed: deployed, Clusters: []protocol.DeployResult{each["us"], each["real"]}, Reason: "check ready failed"}
	results := told{}
	back, err := f.open(argocd.Name, multi).(capability.Reverter).TakeBack(f.T.Context(), f.Spec(), deploytest.Target, from,
		func(r protocol.DeployResult) { results[r.Cluster] = r })
	if err != nil || *back.Clusters != (protocol.ClusterCount{Total: 2, RolledBack: 2}) || back.RunningVersion != version || back.Image != before["us"].Image {
		f.T.Fatalf("taken back: %+v, %v", back, err)
	}
	if f.version("us") != "1" || f.version("real") != "1" || !strings.HasSuffix(f.Deployment().Spec.Template.Spec.Containers[0].Image, before["real"].Image) {
		f.T.Errorf("taken back, but us has %s and real has %s, %+v", f.version("us"), f.version("real"), results)
	}

	f.Version, f.NoDowngrade = "0.9.0", true
	_, each, err = f.deploy(argocd.Name, multi)
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "has "+deploytest.AppName+" "+version+", which is newer than 0.9.0") || f.version("us") != "1" {
		f.T.Errorf("an older version: %v, us has %s, %+v", err, f.version("us"), each)
	}
	f.Version, f.NoDowngrade = version, false
}

// removedFromSet uninstalls the app from the clusters of an ApplicationSet.
func (f *realFleet) removedFromSet(multi protocol.MultiCluster) {
	f.T.Helper()
	there := func(cluster string) bool {
		_, err := f.clusters[cluster].Client.CoreV1().ConfigMaps(f.Namespace).Get(f.T.Context(), "app", metav1.GetOptions{})
		return err == nil
	}
	stop := f.collectGarbage("us")
	defer stop()
	plan, err := f.openAs(argocd.Name, multi, true).(delivery.Adapter).Remove(f.T.Context(), f.Spec(), deploytest.Target)
	if err != nil || !plan.Planned || plan.Clusters.Removed != 2 || len(plan.Removed) < 4 || !there("us") || !there("real") {
		f.T.Errorf("plan of an uninstall: %+v, %v", plan, err)
	}
	result, err := f.open(argocd.Name, multi).(delivery.Adapter).Remove(f.T.Context(), f.Spec(), deploytest.Target)
	if err != nil || result.Outcome != protocol.OutcomeRemoved || result.Clusters.Removed != 2 || there("us") || there("real") {
		f.T.Errorf("uninstall: %+v, %v, there: us %t, real %t", result, err, there("us"), there("real"))
	}
	if again, err := f.open(argocd.Name, multi).(delivery.Adapter).Remove(f.T.Context(), f.Spec(), deploytest.Target); err != nil || again.Outcome != protocol.OutcomeAbsent {
		f.T.Errorf("again: %+v, %v", again, err)
	}
}

// collectGarbage lets go of what is deleted on an API server without controllers, where
// nobody else does.
func (f *realFleet) collectGarbage(cluster string) (stop func()) {
	ctx, cancel := context.WithCancel(f.T.Context())
	done := make(chan struct{})
	client, free := f.clusters[cluster].Client, []byte(`{"metadata":{"finalizers":null}}`)
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if o, err := client.CoreV1().ConfigMaps(f.Namespace).Get(ctx, "app", metav1.GetOptions{}); err == nil && o.DeletionTimestamp != nil {
				_, _ = client.CoreV1().ConfigMaps(f.Namespace).Patch(ctx, "app", types.MergePatchType, free, metav1.PatchOptions{})
			}
			if o, err := client.BatchV1().CronJobs(f.Namespace).Get(ctx, "app", metav1.GetOptions{}); err == nil && o.DeletionTimestamp != nil {
				_, _ = client.BatchV1().CronJobs(f.Namespace).Patch(ctx, "app", types.MergePatchType, free, metav1.PatchOptions{})
			}
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return func() { cancel(); <-done }
}

// progressiveSyncs says, as an installation does, that the controller does them.
func (f *realFleet) progressiveSyncs(hub clustertest.Cluster) {
	f.T.Helper()
	const name, key = "argocd-cmd-params-cm", "applicationsetcontroller.enable.progressive.syncs"
	patch := func(ctx context.Context, value string) {
		_, err := hub.Client.CoreV1().ConfigMaps(argoNamespace).Patch(ctx, name, types.MergePatchType, []byte(`{"data":{"`+key+`":`+value+`}}`), metav1.PatchOptions{})
		if err != nil {
			f.T.Error(err)
		}
	}
	patch(f.T.Context(), `"true"`)
	f.T.Cleanup(func() { patch(context.Background(), "null") })
}
