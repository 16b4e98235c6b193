package helm

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	argo "github.com/nationtech/harmony/internal/deploy/argocd/api"
	flux "github.com/nationtech/harmony/internal/deploy/flux/api"
	"github.com/nationtech/harmony/internal/deploy/status"
)

func fluxEntry(u unstructured.Unstructured, namespace, app string) (status.Entry, bool) {
	r, err := flux.Read(&u)
	if err != nil {
		panic(err)
	}
	return r.Entry(), r.Delivers(namespace, app)
}

func argoEntry(u unstructured.Unstructured, namespace, app string) (status.Entry, bool) {
	a, err := argo.New(&u)
	if err != nil {
		panic(err)
	}
	return a.Entry(), a.Delivers(namespace, app)
}

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
	paused := strings.Replace(application, "status: Healthy", "status: Suspended", 1)
	if e, _ = argoEntry(object(t, paused), "fleet", "app"); e.Healthy || e.Message != "Suspended" {
		t.Errorf("suspended: %+v", e)
	}
	paused = strings.Replace(paused, "resources: [", "resources: [{kind: Rollout, name: app, status: Synced, health: {status: Suspended, message: CanaryPauseStep}}, ", 1)
	if e, _ = argoEntry(object(t, paused), "fleet", "app"); e.Healthy || e.Message != "Suspended Rollout app: CanaryPauseStep" {
		t.Errorf("suspended: %+v", e)
	}
	if _, ok := argoEntry(object(t, application), "other", "app"); ok {
		t.Error("an Application of another namespace is taken")
	}
}
