package status

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func object(t *testing.T, text string) unstructured.Unstructured {
	t.Helper()
	u := unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u); err != nil {
		t.Fatal(err)
	}
	return u
}

const helmRelease = `apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: app, namespace: fleet, generation: 3}
spec: {}
status:
  observedGeneration: 3
  conditions: [{type: Ready, status: "True", reason: UpgradeSucceeded, message: fine}]
  history: [{chartVersion: 1.4.0+0123456789ab, ociDigest: "sha256:aa", version: 7, lastDeployed: "2026-01-02T03:04:05Z"}]
`

func TestFluxEntry(t *testing.T) {
	e, ok := fluxEntry(object(t, helmRelease), "fleet", "app")
	if !ok || !e.Healthy || e.Adapter != "flux" || e.State != "UpgradeSucceeded" || e.Version != "1.4.0" || e.Chart != "sha256:aa" || e.Revision != 7 || e.Since == nil || e.Since.Year() != 2026 {
		t.Errorf("%t: %+v", ok, e)
	}
	for _, c := range []struct{ name, old, new, state, message string }{
		{"failed", `status: "True", reason: UpgradeSucceeded`, `status: "False", reason: UpgradeFailed`, "UpgradeFailed", "fine"},
		{"not seen yet", "observedGeneration: 3", "observedGeneration: 2", "reconciling", "fine"},
		{"no status", helmRelease[strings.Index(helmRelease, "status:"):], "", "reconciling", ""},
	} {
		e, ok := fluxEntry(object(t, strings.Replace(helmRelease, c.old, c.new, 1)), "fleet", "app")
		if !ok || e.Healthy || e.State != c.state || e.Message != c.message {
			t.Errorf("%s: %t %+v", c.name, ok, e)
		}
	}
	if e, _ := fluxEntry(object(t, strings.Replace(helmRelease, "spec: {}", "spec: {suspend: true}", 1)), "fleet", "app"); e.State != "suspended" {
		t.Errorf("suspended: %+v", e)
	}
	elsewhere := strings.Replace(helmRelease, "spec: {}", "spec: {targetNamespace: prod, releaseName: other}", 1)
	for _, c := range []struct {
		namespace, app string
		want           bool
	}{{"fleet", "app", false}, {"prod", "other", true}, {"prod", "app", true}, {"prod", "third", false}} {
		if _, ok := fluxEntry(object(t, elsewhere), c.namespace, c.app); ok != c.want {
			t.Errorf("%s/%s: %t, want %t", c.namespace, c.app, ok, c.want)
		}
	}
}

const application = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: app-prod
  namespace: argocd
  labels: {harmony.nationtech.io/app: app}
  annotations: {harmony.nationtech.io/image: "localhost:5000/a/app:1.4.0@sha256:bb", harmony.nationtech.io/version: 1.4.0}
spec: {destination: {namespace: fleet}}
status:
  sync: {status: Synced, revision: "sha256:aa"}
  health: {status: Healthy}
  operationState: {finishedAt: "2026-01-02T03:04:05Z", message: done}
  resources: [{kind: Service, name: app, status: OutOfSync}, {kind: Secret, name: x, status: Synced}]
`

func TestArgoEntry(t *testing.T) {
	e, ok := argoEntry(object(t, application), "fleet", "app")
	if !ok || !e.Healthy || e.Adapter != "argocd" || e.Image != "sha256:bb" || e.Chart != "sha256:aa" || e.Version != "1.4.0" || len(e.Drift) > 0 || e.Since == nil {
		t.Errorf("%t: %+v", ok, e)
	}
	e, _ = argoEntry(object(t, strings.Replace(application, "status: Synced,", "status: OutOfSync,", 1)), "fleet", "app")
	if e.Healthy || len(e.Drift) != 1 || !strings.Contains(e.Drift[0], "Service app") {
		t.Errorf("out of sync: %+v", e)
	}
	e, _ = argoEntry(object(t, strings.Replace(application, "status: Healthy", "status: Degraded", 1)), "fleet", "app")
	if e.Healthy || !strings.Contains(e.Message, "Degraded") {
		t.Errorf("degraded: %+v", e)
	}
	if _, ok := argoEntry(object(t, application), "other", "app"); ok {
		t.Error("an Application of another namespace is taken")
	}
}

func TestMerge(t *testing.T) {
	helm, application := Entry{Context: "eu", Object: "release app", State: "deployed"}, Entry{Context: "eu", Object: "Application a/b", State: "Synced"}
	absent := Entry{Context: "eu", State: Absent}
	better := application
	better.Healthy = true
	for name, c := range map[string]struct{ entries, more, want []Entry }{
		"nothing more":          {[]Entry{helm}, nil, []Entry{helm}},
		"absent here":           {[]Entry{absent}, []Entry{application}, []Entry{application}},
		"absent there":          {[]Entry{helm}, []Entry{absent}, []Entry{helm}},
		"absent both":           {[]Entry{absent}, []Entry{absent}, []Entry{absent}},
		"beside each other":     {[]Entry{helm}, []Entry{application}, []Entry{helm, application}},
		"the same, told better": {[]Entry{application}, []Entry{better}, []Entry{better}},
		"of another cluster":    {[]Entry{{Context: "us", State: Absent}}, []Entry{application}, []Entry{{Context: "us", State: Absent}, application}},
	} {
		if got := Merge(c.entries, c.more); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	now := time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)
	since := now.Add(-3 * time.Hour)
	entries := []Entry{
		{App: "b", Target: "staging", State: Absent},
		{App: "a", Target: "staging", Context: "eu", Namespace: "fleet", Adapter: "helm", Version: "1.0.0", Image: "sha256:0123456789abcdef", Since: &since, State: "deployed", Healthy: true},
	}
	Sort(entries)
	var b bytes.Buffer
	if err := Table(&b, entries, now); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	if got := strings.Join(strings.Fields(lines[1]), " "); got != "a staging eu/fleet helm 1.0.0 0123456789ab 3h deployed yes -" {
		t.Errorf("line %q", got)
	}
	if got := strings.Join(strings.Fields(lines[2]), " "); got != "b staging - - - - absent - -" {
		t.Errorf("line %q", got)
	}
}
