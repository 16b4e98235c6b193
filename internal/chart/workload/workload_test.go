package workload_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"

	"github.com/nationtech/harmony/internal/chart/workload"
	"github.com/nationtech/harmony/pkg/protocol"
)

var update = flag.Bool("update", false, "write the golden charts anew")

// apps are documents in testdata: one app that says nothing, one that says a
// little, and one that says all there is.
var apps = []string{"minimal", "web", "full"}

func app(t *testing.T, name string) protocol.AppSpec {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := protocol.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	app, err := protocol.Decode[protocol.AppSpec](document)
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Validate(); err != nil {
		t.Fatal(err)
	}
	return app
}

// chart writes the app's chart into a folder.
func chart(t *testing.T, app protocol.AppSpec) string {
	t.Helper()
	files, err := workload.Files(app)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), app.Name)
	if err := workload.Write(files, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// The chart of each app is the one in testdata, and so is what Helm makes of it
// with the values of a target.
func TestGoldenCharts(t *testing.T) {
	for _, name := range apps {
		t.Run(name, func(t *testing.T) {
			files, err := workload.Files(app(t, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"Chart.yaml", "values.yaml"} {
				golden(t, filepath.Join("testdata", name, file), files[file])
			}
			again, err := workload.Files(app(t, name))
			if err != nil || !maps.EqualFunc(files, again, bytes.Equal) {
				t.Errorf("made again, the chart has other bytes (%v)", err)
			}
		})
	}
}

func TestHelmRendersGoldenObjects(t *testing.T) {
	for _, name := range apps {
		t.Run(name, func(t *testing.T) {
			golden(t, filepath.Join("testdata", name, "rendered.yaml"), template(t, chart(t, app(t, name))))
		})
	}
}

// Names that YAML 1.1 reads as a number or a truth value stay names, and every
// object has only fields that Kubernetes knows.
func TestObjectsAreTyped(t *testing.T) {
	for _, name := range append(apps, "odd") {
		t.Run(name, func(t *testing.T) {
			objects := map[string]any{
				"Deployment": &appsv1.Deployment{}, "Service": &corev1.Service{}, "ServiceAccount": &corev1.ServiceAccount{},
				"PersistentVolumeClaim": &corev1.PersistentVolumeClaim{}, "Ingress": &networkingv1.Ingress{},
				"HorizontalPodAutoscaler": &autoscalingv2.HorizontalPodAutoscaler{}, "PodDisruptionBudget": &policyv1.PodDisruptionBudget{},
			}
			for text := range bytes.SplitSeq(template(t, chart(t, app(t, name))), []byte("---\n")) {
				var object struct{ Kind string }
				if err := yaml.Unmarshal(text, &object); err != nil {
					t.Fatal(err)
				}
				if object.Kind == "" {
					continue
				}
				// As JSON, or a truth value would become the string that is wanted.
				encoded, err := yaml.YAMLToJSONStrict(text)
				if err != nil {
					t.Fatal(err)
				}
				decoder := json.NewDecoder(bytes.NewReader(encoded))
				decoder.DisallowUnknownFields()
				if err := decoder.Decode(objects[object.Kind]); err != nil {
					t.Errorf("%v in\n%s", err, text)
				}
			}
		})
	}
}

// golden holds bytes against a file.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is now\n%s", file, got)
	}
}

const image = "registry.example.com/shop:1.4.0@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

// template is what the real helm renders.
func template(t *testing.T, dir string, arguments ...string) []byte {
	t.Helper()
	out, err := helm(t, append([]string{"template", filepath.Base(dir), dir, "--namespace", "shop", "--set", "image=" + image}, arguments...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

func helm(t *testing.T, arguments ...string) ([]byte, error) {
	t.Helper()
	program := os.Getenv("HARMONY_TEST_HELM")
	if program == "" {
		t.Skip("needs the test cluster's helm: HARMONY_TEST_HELM is not set")
	}
	return exec.CommandContext(t.Context(), program, arguments...).CombinedOutput()
}

func TestHelmLints(t *testing.T) {
	for _, name := range apps {
		t.Run(name, func(t *testing.T) {
			if out, err := helm(t, "lint", "--strict", "--set", "image="+image, chart(t, app(t, name))); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// A target changes what it wants, and what no chart has a word for is refused.
func TestValuesOfTarget(t *testing.T) {
	dir := chart(t, app(t, "web"))
	out := template(t, dir, "--set", "replicas=3,env.LOG_LEVEL=debug,autoscaling.maxReplicas=7,security.runAsUser=1000660000", "--set-string", "env.WORKERS=1000000,resources.limits.cpu=1")
	for _, want := range []string{
		`{name: "LOG_LEVEL", value: "debug"}`, `{name: "WORKERS", value: "1000000"}`, "kind: HorizontalPodAutoscaler", "maxReplicas: 7", "runAsUser: 1000660000", `cpu: "1"`,
	} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	if bytes.Contains(out, []byte("replicas: 3")) {
		t.Error("a number of replicas beside the autoscaler")
	}
	for _, wrong := range []string{"replica=3", "env.WORKERS=4", "replicas=many", "ports[0].port=0", "security.privileged=true", "security.runAsUser=0", "readinessProbe.grpc.port=1"} {
		if out, err := helm(t, "template", "web", dir, "--set", "image="+image, "--set", wrong); err == nil || !bytes.Contains(out, []byte("schema")) {
			t.Errorf("%s: %v\n%s", wrong, err, out)
		}
	}
	if out, err := helm(t, "template", "web", dir); err == nil || !bytes.Contains(out, []byte("image is required")) {
		t.Errorf("without an image: %v\n%s", err, out)
	}
}

func TestWriteRefuses(t *testing.T) {
	files, err := workload.Files(app(t, "web"))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "note"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"a folder with something in it": root, "a file": filepath.Join(root, "note")} {
		if err := workload.Write(files, dir); protocol.ExitCode(err) != protocol.ExitInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if entries, _ := os.ReadDir(root); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	// An empty folder will do, and one that is not there yet.
	empty := t.TempDir()
	for _, dir := range []string{empty, filepath.Join(root, "a", "b")} {
		if err := workload.Write(files, dir); err != nil {
			t.Error(err)
		}
		var found []string
		err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				found = append(found, path)
			}
			return err
		})
		if want := slices.Sorted(maps.Keys(files)); err != nil || !slices.Equal(found, want) {
			t.Errorf("%s holds %v, want %v (%v)", dir, found, want, err)
		}
	}
}
