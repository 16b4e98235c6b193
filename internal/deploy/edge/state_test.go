package edge

import (
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Every image is pinned, also those of others.
func TestImagesArePinned(t *testing.T) {
	w := newWorld(t)
	sidecar, err := random.Image(16, 1)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := sidecar.Digest()
	if err != nil {
		t.Fatal(err)
	}
	w.push("mirror/proxy:2", sidecar)
	w.templates["app.yaml"] = strings.Replace(template, "containers: [", "initContainers: [{name: p, image: "+w.host+"/mirror/proxy:2}], containers: [", 1)
	w.deploy(protocol.OutcomePublished)
	if text := w.file(fileApp); !strings.Contains(text, w.host+"/mirror/proxy:2@"+digest.String()) {
		t.Errorf("it is not pinned:\n%s", text)
	}
	w.templates["app.yaml"] = strings.Replace(w.templates["app.yaml"], "proxy:2", "proxy:absent", 1)
	if _, err := w.try(); protocol.ExitCode(err) != protocol.ExitFailed || !strings.Contains(err.Error(), "proxy:absent") {
		t.Errorf("error %v", err)
	}
}

func TestWhatOnlyHelmCanDo(t *testing.T) {
	hook := func(events string) string {
		return "---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: migrate, annotations: {helm.sh/hook: \"" + events + "\"}}\n"
	}
	for name, c := range map[string]struct {
		add  string
		code int
		word string
	}{
		"test":      {hook("test"), protocol.ExitOK, ""},
		"two tests": {hook("test-success, test-failure"), protocol.ExitOK, ""},
		"hook":      {hook("pre-upgrade"), protocol.ExitUnsupported, "Job migrate (pre-upgrade)"},
		"both":      {hook("test,post-install"), protocol.ExitUnsupported, "migrate"},
		"random":    {"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: r}\ndata: {x: {{ randAlphaNum 20 }}}\n", protocol.ExitUnsupported, "ConfigMap r"},
		"no kind":   {"---\nmetadata: {name: odd}\n", protocol.ExitInvalid, "odd"},
		"cannot":    {"{{ fail \"never\" }}", protocol.ExitInvalid, "never"},
		"no YAML":   {"---\na: [", protocol.ExitInvalid, "app.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.templates["app.yaml"] += c.add
			_, err := w.try()
			if protocol.ExitCode(err) != c.code || err != nil && !strings.Contains(err.Error(), c.word) {
				t.Fatalf("error %v with status %d, want %q with %d", err, protocol.ExitCode(err), c.word, c.code)
			}
			if c.code == protocol.ExitUnsupported && !strings.Contains(protocol.HintOf(err), "helmRelease") {
				t.Errorf("hint %q", protocol.HintOf(err))
			}
			if err == nil && strings.Contains(w.file(fileApp), "migrate") {
				t.Error("a test is in the state")
			}
		})
	}
}

func TestChartWithoutTheImage(t *testing.T) {
	w := newWorld(t)
	w.app.Targets[target].Values["image"] = "elsewhere/app@" + imageTwo
	if _, err := w.try(); protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "does not use the image") {
		t.Errorf("error %v", err)
	}
}

func TestNamespacesAndDefinitions(t *testing.T) {
	w := newWorld(t)
	crd := func(kind, scope string) string {
		return "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x" + kind + "}\nspec: {group: example.com, scope: " + scope + ", names: {kind: " + kind + "}}\n"
	}
	w.crds = map[string]string{"a.yaml": crd("Wide", "Cluster") + "---\n" + crd("Narrow", "Namespaced")}
	w.templates["more.yaml"] = "apiVersion: example.com/v1\nkind: Wide\nmetadata: {name: wide}\n---\napiVersion: example.com/v1\nkind: Narrow\nmetadata: {name: narrow}\n" +
		"---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: role}\n---\napiVersion: other.example.com/v1\nkind: Unknown\nmetadata: {name: unknown}\n" +
		"---\napiVersion: v1\nkind: Secret\nmetadata: {name: token, namespace: elsewhere}\nstringData: {a: b}\n"
	w.deploy(protocol.OutcomePublished)
	if text := w.file(fileCRDs); strings.Count(text, "CustomResourceDefinition") != 2 {
		t.Errorf("definitions:\n%s", text)
	}
	found, err := objects([]file{{content: []byte(w.file(fileApp))}})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range found {
		want := map[string]string{"wide": "", "role": "", "token": "elsewhere"}
		expected, special := want[o.GetName()]
		if !special {
			expected = appNamespace
		}
		if o.GetNamespace() != expected {
			t.Errorf("%s %s is in %q, want %q", o.GetKind(), o.GetName(), o.GetNamespace(), expected)
		}
	}
	if len(w.warnings) != 1 || !strings.Contains(w.warnings[0], "Secret token") {
		t.Errorf("warnings %q", w.warnings)
	}
}

func TestHelmRelease(t *testing.T) {
	w := newWorld(t)
	w.edge.Form, w.edge.SecretRef = protocol.EdgeHelmRelease, "registry"
	if _, err := w.try(); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(protocol.HintOf(err), "manifests") {
		t.Errorf("a chart on this machine: %v", err)
	}
}

func TestWhatIsNotPublished(t *testing.T) {
	w := newWorld(t)
	w.image.Location = protocol.InDaemon
	if _, err := w.try(); protocol.ExitCode(err) != protocol.ExitUnsupported {
		t.Errorf("an image in a daemon: %v", err)
	}
	w.image.Location, w.image.Digest = protocol.InRegistry, ""
	if _, err := w.try(); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("an image without digest: %v", err)
	}
	w.dryRun = true
	if r := w.deploy(protocol.OutcomePublished); !r.Planned || r.Published.Digest != "" {
		t.Errorf("a plan before anything is published: %+v", r)
	}
}

// Devices are told no replicas of what an autoscaler of the chart scales.
func TestAutoscaledReplicas(t *testing.T) {
	w := newWorld(t)
	w.templates["more.yaml"] = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {replicas: 7, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: []}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: fixed}
spec: {replicas: 8, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: []}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec: {maxReplicas: 9, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}
`
	w.deploy(protocol.OutcomePublished)
	if text := w.file(fileApp); strings.Contains(text, "replicas: 7") || !strings.Contains(text, "replicas: 8") {
		t.Errorf("published:\n%s", text)
	}
}
