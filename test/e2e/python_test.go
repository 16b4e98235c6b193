package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The plugin of examples/plugins, in Python, in the place of harmony-smoke: it
// passes a release, and fails another with status 5.
func TestPythonInThePlaceOfSmoke(t *testing.T) {
	t.Parallel()
	p := newProject(t, "fleet")
	for _, needed := range []string{"python3", "kubectl"} {
		if _, err := exec.LookPath(needed); err != nil && os.Getenv("CI") == "" {
			t.Skipf("%s is not installed", needed)
		}
	}
	const name = "harmony-smoke-python"
	plugin, err := os.ReadFile(filepath.Join("..", "..", "examples", "plugins", name))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, name), plugin, 0o755); err != nil {
		t.Fatal(err)
	}
	p.env = append(p.env, "PATH="+folder+":"+p.bin+":"+os.Getenv("PATH"))
	p.rewrite("harmony.yaml", "# The three programs", `apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: python}
spec:
  containerBuilder: {adapter: auto}
  ociRegistry: {adapter: oci, url: `+os.Getenv("HARMONY_TEST_REGISTRY")+`}
  helmRegistry: {adapter: none}
  continuousDelivery: {adapter: helm}
  smoke: {plugin: `+name+`}
  targets:
    staging: {inCluster: {namespace: `+p.name+`-staging}}
---
# The three programs`)
	release := func() output {
		return p.run("harmony", "release", "fleet-callout", "--version", "1.0.0", "--topology", "python", "-o", "json")
	}

	out := release()
	reports := only(documents(t, out.stdout), "SmokeReport")
	if out.code != 0 || len(reports) != 1 || !reports[0].Spec.Passed {
		t.Fatalf("exit status %d, reports %+v\n%s", out.code, reports, out.stderr)
	}
	p.rewrite("harmony.yaml", `"{.allowed}", equals: false`, `"{.allowed}", equals: true`)
	p.rewrite("harmony.yaml", "timeout: 30s", "timeout: 2s")
	out = release()
	reports = only(documents(t, out.stdout), "SmokeReport")
	if out.code != 5 || len(reports) != 1 || reports[0].Spec.Passed || !strings.Contains(out.stderr, "stranger-stays-out") {
		t.Errorf("exit status %d, want 5; reports %+v\n%s", out.code, reports, out.stderr)
	}
}
