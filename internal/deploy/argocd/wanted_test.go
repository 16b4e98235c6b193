package argocd

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/nationtech/harmony/internal/cluster/marks"
	"github.com/nationtech/harmony/internal/deploy/argocd/api"
	"github.com/nationtech/harmony/pkg/capability"
)

// parse reads an Application as it comes from the API server.
func parse(t *testing.T, text string) *application {
	t.Helper()
	encoded, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(encoded); err != nil {
		t.Fatal(err)
	}
	found, err := api.New(object)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// good is an Application that has everything and is healthy.
var good = strings.NewReplacer("CHART", digest("a"), "IMAGE", "registry/app@"+digest("b")).Replace(`apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: app-staging
  labels: {app.kubernetes.io/managed-by: harmony, harmony.nationtech.io/app: app, harmony.nationtech.io/target: staging}
  annotations: {harmony.nationtech.io/image: "IMAGE", harmony.nationtech.io/version: 1.0.0}
spec:
  project: default
  destination: {server: "https://one:6443", namespace: fleet}
  source:
    repoURL: oci://registry/charts/app
    path: .
    targetRevision: CHART
    helm: {releaseName: app, valuesObject: {replicas: 2, big: 10000000, ratio: 0.5, none: null, list: [1, two]}}
  ignoreDifferences: [{group: apps, kind: Deployment, managedFieldsManagers: [kube-controller-manager, keda, keda-operator]}, {group: apps, kind: StatefulSet, managedFieldsManagers: [kube-controller-manager, keda, keda-operator]}, {group: apps, kind: ReplicaSet, managedFieldsManagers: [kube-controller-manager, keda, keda-operator]}]
  syncPolicy: {syncOptions: [CreateNamespace=true, RespectIgnoreDifferences=true]}
status:
  health: {status: Healthy}
  sync: {status: Synced, revision: CHART}
  history: [{id: 0}]
  operationState: {phase: Succeeded, finishedAt: "2026-01-02T03:04:05Z", startedAt: "2026-01-02T03:04:00Z", syncResult: {revision: CHART}}
  reconciledAt: "2026-01-02T03:04:05Z"
`)

func wantedFor(t *testing.T, s options) (*deployment, []place) {
	t.Helper()
	s.project, s.manage = "default", true
	d := deploymentFor("https://one:6443", "https://one:6443", s)
	d.Values.All = map[string]any{"replicas": int64(2), "big": int64(10000000), "ratio": 0.5, "none": nil, "list": []any{int64(1), "two"}}
	var err error
	if d.want, err = newWanted(d); err != nil {
		t.Fatal(err)
	}
	return d, d.places()
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		settings       options
		want           bool
	}{
		{"as it is", "", "", options{}, true},
		{"more options", "[CreateNamespace=true", "[ServerSideApply=true, CreateNamespace=true", options{}, true},
		{"automated", "syncPolicy: {", "syncPolicy: {automated: {selfHeal: true}, ", options{}, true},
		{"in-cluster", "https://one:6443", inCluster, options{}, true},
		{"another chart", "targetRevision: " + digest("a"), "targetRevision: " + digest("c"), options{}, false},
		{"another image", `image: "registry/app@` + digest("b"), `image: "registry/app@` + digest("c"), options{}, false},
		{"another value", "replicas: 2", "replicas: 3", options{}, false},
		{"a value more", "replicas: 2", "replicas: 2, more: 1", options{}, false},
		{"another namespace", "namespace: fleet", "namespace: other", options{}, false},
		{"another server", "https://one:6443", "https://two:6443", options{}, false},
		{"another project", "project: default", "project: other", options{}, false},
		{"an option less", "", "", options{syncOptions: []string{"ServerSideApply=true"}}, false},
		{"replicas of an autoscaler", "kind: StatefulSet,", "kind: Other,", options{}, false},
		{"several sources", "  project:", "  sources: [{repoURL: x}]\n  project:", options{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if c.old != "" && text == good {
				t.Fatalf("there is no %q", c.old)
			}
			d, places := wantedFor(t, c.settings)
			if got := d.want.matches(parse(t, text), places); got != c.want {
				t.Errorf("matches: %t, want %t", got, c.want)
			}
		})
	}
}

// What is written is what is wanted, and the rest of the spec stays.
func TestWriteThenMatches(t *testing.T) {
	d, places := wantedFor(t, options{syncOptions: []string{"CreateNamespace=false", "Validate=false"}})
	text := strings.NewReplacer("replicas: 2", "replicas: 9", "syncPolicy: {", "syncPolicy: {automated: {}, ", "ignoreDifferences: [", "ignoreDifferences: [{kind: Secret}, ").Replace(good)
	found := parse(t, text)
	if err := d.want.write(found.Unstructured, places[0]); err != nil {
		t.Fatal(err)
	}
	written, err := api.New(found.Unstructured)
	if err != nil {
		t.Fatal(err)
	}
	if !d.want.matches(written, places) {
		t.Errorf("does not match after it was written: %v", written.Object["spec"])
	}
	if got := strings.Join(written.Spec.SyncPolicy.SyncOptions, " "); got != "CreateNamespace=false Validate=false RespectIgnoreDifferences=true" {
		t.Errorf("sync options %s", got)
	}
	if written.Spec.SyncPolicy.Automated == nil || len(written.Object["spec"].(map[string]any)["ignoreDifferences"].([]any)) != 4 {
		t.Error("what somebody else set is gone")
	}
}

func TestPrevious(t *testing.T) {
	found := parse(t, good)
	if err := keepPrevious(found); err != nil {
		t.Fatal(err)
	}
	last, ok := previous(found)
	if !ok || last.chart() != digest("a") || last.digest() != digest("b") || last.Version != "1.0.0" {
		t.Errorf("previous: %+v, %t", last, ok)
	}
	// What is not healthy is nothing to go back to.
	bad := parse(t, strings.Replace(good, "status: Healthy", "status: Degraded", 1))
	if err := keepPrevious(bad); err != nil {
		t.Fatal(err)
	}
	if last, ok := previous(bad); ok {
		t.Errorf("previous of a degraded Application: %+v", last)
	}
	for _, text := range []string{"", "{", "null", `{"image":"x"}`, "[]"} {
		annotate(bad.Unstructured, marks.Previous, text)
		if last, ok := previous(bad); ok {
			t.Errorf("previous of %q: %+v", text, last)
		}
	}
}

func TestOwned(t *testing.T) {
	d, _ := wantedFor(t, options{})
	for _, c := range []struct{ name, old, new, want string }{
		{"ours", "", "", ""},
		{"made by hand", "managed-by: harmony", "managed-by: me", "was made by somebody else"},
		{"of another app", "io/app: app", "io/app: other", "that of app other for target staging"},
		{"of an ApplicationSet", "  name: app-staging", "  name: app-staging\n  ownerReferences: [{apiVersion: argoproj.io/v1alpha1, kind: ApplicationSet, name: fleet, uid: u}]", "belongs to ApplicationSet fleet"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := d.owned(parse(t, strings.Replace(good, c.old, c.new, 1)))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestAdoptable(t *testing.T) {
	foreign := strings.Replace(good, "managed-by: harmony", "managed-by: me", 1)
	for _, c := range []struct{ name, old, new, want string }{
		{"made by hand", "", "", ""},
		{"of an Application", "managed-by: me", "instance: apps", "belongs to Application apps"},
		{"of an ApplicationSet", "  name: app-staging", "  name: app-staging\n  ownerReferences: [{apiVersion: argoproj.io/v1alpha1, kind: ApplicationSet, name: fleet, uid: u}]", "belongs to ApplicationSet fleet"},
		{"elsewhere", "namespace: fleet", "namespace: other", "another place"},
		{"of another release", "releaseName: app", "releaseName: other", "release name other"},
		{"of another chart", "charts/app", "charts/other", "of the chart other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, _ := wantedFor(t, options{})
			d.Adopt = capability.AdoptSameChart
			text := strings.Replace(foreign, c.old, c.new, 1)
			if text == foreign && c.old != "" {
				t.Fatalf("there is no %q", c.old)
			}
			err := d.owned(parse(t, text))
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if (d.adopted != "") != (err == nil) {
				t.Errorf("adopted from %q", d.adopted)
			}
		})
	}
}

func TestFresh(t *testing.T) {
	for at, want := range map[string]bool{"2026-01-02T03:04:05Z": true, "2026-01-02T03:04:04Z": false, "2026-01-02T03:05:00Z": true} {
		found := parse(t, strings.Replace(good, `reconciledAt: "2026-01-02T03:04:05Z"`, `reconciledAt: "`+at+`"`, 1))
		if got := fresh(found); got != want {
			t.Errorf("reconciled at %s: fresh %t, want %t", at, got, want)
		}
	}
	if fresh(parse(t, strings.Replace(good, `  reconciledAt: "2026-01-02T03:04:05Z"`, "", 1))) {
		t.Error("fresh although never reconciled")
	}
}

func TestGitWants(t *testing.T) {
	d, _ := wantedFor(t, options{})
	for _, c := range []struct {
		name, old, new string
		want           bool
	}{
		{"our digest", "", "", true},
		{"another digest", "targetRevision: " + digest("a"), "targetRevision: " + digest("c"), false},
		{"a tag that means ours", "targetRevision: " + digest("a"), "targetRevision: 1.0.0", true},
		{"a source of another repository", "repoURL: oci://registry/charts/app", "repoURL: oci://registry/charts/other", false},
		{"the second of two sources", "  project:", "  sources: [{repoURL: x, targetRevision: main}, {repoURL: 'oci://registry/charts/app', targetRevision: '" + digest("a") + "'}]\n  project:", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := d.gitWants(parse(t, strings.Replace(good, c.old, c.new, 1))); got != c.want {
				t.Errorf("gitWants: %t, want %t", got, c.want)
			}
		})
	}
}

func TestOperationStates(t *testing.T) {
	state := func(text string) *operationState {
		found := parse(t, "apiVersion: argoproj.io/v1alpha1\nkind: Application\nstatus: {operationState: {startedAt: \"2026-01-02T03:04:00Z\", "+text+"}}")
		return found.Status.OperationState
	}
	for text, want := range map[string]bool{
		"phase: Succeeded": true, "phase: Failed": true, "phase: Error": true, "phase: Running": false, "phase: Terminating": false,
		// It is about to be tried again.
		`phase: Running, finishedAt: "2026-01-02T03:04:05Z"`: false,
	} {
		if got := state(text).Done(); got != want {
			t.Errorf("%s: done %t, want %t", text, got, want)
		}
	}
	s := state("phase: Running, operation: {info: [{name: harmony.nationtech.io/token, value: mine}]}")
	if s.Operation.Token() != "mine" || s.Operation.Who() != "harmony" {
		t.Errorf("token %q of %s", s.Operation.Token(), s.Operation.Who())
	}
}

func FuzzPrevious(f *testing.F) {
	f.Add(`{"source":{"targetRevision":"sha256:a"},"image":"sha256:b"}`)
	f.Fuzz(func(_ *testing.T, text string) {
		a := &application{Unstructured: &unstructured.Unstructured{Object: map[string]any{}}}
		annotate(a.Unstructured, marks.Previous, text)
		if r, ok := previous(a); ok {
			r.chart()
		}
	})
}
