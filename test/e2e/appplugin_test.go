package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// installFleet builds the app plugin of a copy of the fleet, under the project's
// name: the namespaces take it. What runs is the plugin of the example.
func (p *project) installFleet() {
	p.t.Helper()
	module, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		p.t.Fatal(err)
	}
	p.rewrite("harmony-fleet/go.mod", "=> ../../..", "=> "+module)
	p.rewrite("harmony-fleet/main.go", `Name: "fleet"`, `Name: "`+p.name+`"`)
	p.rewrite("harmony-fleet/main.go", `"fleet/" + name`, `"`+p.name+`/" + name`)
	folder := p.t.TempDir()
	build := exec.CommandContext(p.t.Context(), "go", "build", "-o", filepath.Join(folder, "harmony-"+p.name), ".")
	build.Dir = filepath.Join(p.dir, "harmony-fleet")
	if out, err := build.CombinedOutput(); err != nil {
		p.t.Fatalf("%v\n%s", err, out)
	}
	p.env = append(p.env, "PATH="+folder+":"+p.bin+":"+os.Getenv("PATH"))
}

// An app plugin on PATH makes its apps known in any folder, with a chart of Go
// objects; and its own release is the same pipeline.
func TestAppPlugin(t *testing.T) {
	t.Parallel()
	p := newProject(t, "fleet")
	p.installFleet()
	if err := os.Remove(filepath.Join(p.dir, "harmony.yaml")); err != nil {
		t.Fatal(err)
	}
	p.dir = t.TempDir()

	first := p.must("harmony", "release", "fleet-callout", "fleet-operator", "--version", "1.4.0", "--target", "staging", "-o", "json")
	if results := only(documents(t, first.stdout), "DeployResult"); len(results) != 2 || results[1].Spec.Outcome != "installed" {
		t.Fatalf("deploys %+v\n%s", results, first.stderr)
	}
	deployment, err := p.cluster.Client.AppsV1().Deployments(p.name+"-staging").Get(t.Context(), "fleet-operator", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	container := deployment.Spec.Template.Spec.Containers[0]
	if *deployment.Spec.Replicas != 1 || container.Env[1].Value != "debug" || !strings.Contains(container.Image, "@sha256:") || deployment.Labels["app.kubernetes.io/version"] != "1.4.0" {
		t.Errorf("the values of staging and the image are not in what runs: %+v", deployment.Spec)
	}

	again := p.must("harmony", p.name, "release", "--from-tag", "fleet-operator-v1.4.0", "--target", "staging", "-o", "json")
	list := documents(t, again.stdout)
	results := only(list, "DeployResult")
	if len(results) != 1 || results[0].Spec.Outcome != "unchanged" || results[0].Metadata.Name != "fleet-operator" || results[0].Metadata.Version != "1.4.0" {
		t.Errorf("the plugin's own release is not the same: %+v\n%s", results, again.stdout)
	}
	for _, d := range append(only(list, "ImageRef"), only(list, "ChartRef")...) {
		if !d.Spec.Unchanged {
			t.Errorf("%s is not unchanged: the same objects give another chart, or the image was found by another way\n%s", d.Kind, again.stdout)
		}
	}
}
