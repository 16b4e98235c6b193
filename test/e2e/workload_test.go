package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An app that has a workload and no chart runs, and runs on, unchanged, from the
// chart that is ejected.
func TestGeneratedChart(t *testing.T) {
	p := newFolder(t)
	if err := os.CopyFS(p.dir, os.DirFS(filepath.Join("..", "..", "examples", "workload"))); err != nil {
		t.Fatal(err)
	}
	p.rewrite("harmony.yaml", "repository: pages", "repository: "+p.name+"/pages")
	first := p.must("harmony", "release", "pages", "--version", "1.4.0", "-o", "json")
	if installed := only(documents(t, first.stdout), "DeployResult"); len(installed) != 2 || installed[0].Spec.Outcome != "installed" {
		t.Fatalf("deploys: %+v", installed)
	}
	if passed := only(documents(t, first.stdout), "SmokeReport"); len(passed) != 2 || !passed[0].Spec.Passed || !passed[1].Spec.Passed {
		t.Fatalf("smoke reports: %+v", passed)
	}
	p.checkPods(1, "staging")
	p.checkPods(2, "production")

	told := p.must("harmony", "publish", "eject", "pages").stdout
	text, err := os.ReadFile(filepath.Join(p.dir, "harmony.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	from, until := strings.Index(string(text), "  chart:\n"), strings.Index(string(text), "  targets:")
	p.rewrite("harmony.yaml", string(text[from:until]), "  "+strings.TrimSpace(strings.ReplaceAll(told, "\n", "\n  "))+"\n")
	second := p.must("harmony", "release", "pages", "--version", "1.4.0", "-o", "json")
	for _, d := range documents(t, second.stdout) {
		if d.Kind == "ChartRef" && !d.Spec.Unchanged || d.Kind == "DeployResult" && d.Spec.Outcome != "unchanged" {
			t.Errorf("from the ejected chart: %s %+v", d.Kind, d.Spec)
		}
	}
	if out := p.run("harmony", "publish", "--eject-chart", "charts/pages", "pages"); out.code != 2 {
		t.Errorf("ejected again: exit status %d\n%s", out.code, out.stderr)
	}
}

// checkPods looks how the pods of a target really run.
func (p *project) checkPods(want int, target string) {
	p.t.Helper()
	pods, err := p.cluster.Client.CoreV1().Pods(p.name+"-"+target).List(p.t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=pages"})
	if err != nil {
		p.t.Fatal(err)
	}
	if len(pods.Items) != want {
		p.t.Errorf("%d pods on %s, want %d", len(pods.Items), target, want)
	}
	for _, pod := range pods.Items {
		app := pod.Spec.Containers[0]
		switch {
		case !pod.Status.ContainerStatuses[0].Ready:
			p.t.Errorf("pod %s is not ready", pod.Name)
		case len(app.VolumeMounts) > 0:
			p.t.Errorf("pod %s has a token: %+v", pod.Name, app.VolumeMounts)
		case pod.Status.QOSClass == corev1.PodQOSBestEffort:
			p.t.Errorf("pod %s requests nothing", pod.Name)
		case !*pod.Spec.SecurityContext.RunAsNonRoot || !*app.SecurityContext.ReadOnlyRootFilesystem || *app.SecurityContext.AllowPrivilegeEscalation:
			p.t.Errorf("pod %s may do what it should not", pod.Name)
		}
	}
}
