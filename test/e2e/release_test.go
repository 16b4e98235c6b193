package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/schemas"
)

// The whole job, twice: the second run finds nothing to do.
func TestRelease(t *testing.T) {
	p := newProject(t, "fleet")
	plan := p.must("harmony", "plan", "--all", "--version", "1.4.0", "-o", "json")
	if !strings.Contains(plan.stdout, `"change": true`) || strings.Contains(plan.stdout, `"unchanged"`) {
		t.Errorf("plan of a first release: %s", plan.stdout)
	}
	first := p.must("harmony", "release", "--all", "--version", "1.4.0", "-o", "json")
	results := only(documents(t, first.stdout), "DeployResult")
	if len(results) != 6 {
		t.Fatalf("%d deploys, want 6: %s", len(results), first.stdout)
	}
	for _, d := range results {
		if d.Spec.Outcome != "installed" || !strings.HasPrefix(string(d.Spec.Image), "sha256:") || !strings.HasPrefix(string(d.Spec.Chart), "sha256:") {
			t.Errorf("%s on %s: %+v", d.Metadata.Name, d.Spec.Target, d.Spec)
		}
	}
	if passed := only(documents(t, first.stdout), "SmokeReport"); len(passed) != 6 {
		t.Errorf("%d smoke reports, want 6", len(passed))
	}

	began := time.Now()
	second := p.must("harmony", "release", "--all", "--version", "1.4.0", "-o", "json")
	t.Logf("a release with nothing to do: %s", time.Since(began))
	for _, d := range documents(t, second.stdout) {
		switch {
		case d.Kind == "DeployResult" && (d.Spec.Outcome != "unchanged" || d.Spec.Revision != 1):
			t.Errorf("%s on %s: %s, revision %d; want unchanged, 1", d.Metadata.Name, d.Spec.Target, d.Spec.Outcome, d.Spec.Revision)
		case (d.Kind == "ImageRef" || d.Kind == "ChartRef") && !d.Spec.Unchanged:
			t.Errorf("%s of %s is not unchanged", d.Kind, d.Metadata.Name)
		}
	}
	for _, history := range strings.Split(p.must("helm", "history", "fleet-operator", "-n", p.name+"-production", "-o", "json").stdout, "},{") {
		if !strings.Contains(history, `"revision":1`) || !strings.Contains(history, "deployed") {
			t.Errorf("helm history: %s", history)
		}
	}
	plan = p.must("harmony", "plan", "--all", "--version", "1.4.0", "-o", "text")
	if strings.Contains(plan.stdout, " yes ") {
		t.Errorf("plan after a release:\n%s", plan.stdout)
	}
}

// A change of the code is a new digest, which becomes what runs.
func TestChangeReachesProduction(t *testing.T) {
	p := newProject(t, "fleet")
	before := only(documents(t, p.must("harmony", "release", "fleet-callout", "--version", "1.0.0", "-o", "json").stdout), "DeployResult")
	p.rewrite("cmd/callout/main.go", "func main() {", "func main() {\n\tprintln(\"changed\")\n")

	refused := p.run("harmony", "release", "fleet-callout", "--version", "1.0.0", "-o", "json")
	if refused.code != 1 || strings.Count(refused.stderr, "sha256:") < 2 {
		t.Errorf("the same version with other bytes: exit status %d, want 1 with both digests\n%s", refused.code, refused.stderr)
	}
	after := only(documents(t, p.must("harmony", "release", "fleet-callout", "--version", "1.0.1", "-o", "json").stdout), "DeployResult")
	if len(before) != 2 || len(after) != 2 || after[1].Spec.Outcome != "upgraded" || after[1].Spec.Image == before[1].Spec.Image {
		t.Fatalf("before %+v, after %+v", before, after)
	}
	pods, err := p.cluster.Client.CoreV1().Pods(p.name+"-production").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	running := 0
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp != nil {
			continue
		}
		running++
		if id := pod.Status.ContainerStatuses[0].ImageID; !strings.HasSuffix(id, string(after[1].Spec.Image)) {
			t.Errorf("pod %s runs %s, want %s", pod.Name, id, after[1].Spec.Image)
		}
	}
	if running == 0 {
		t.Error("no pod runs")
	}
}

// The pipe of the README, on the built-in local topology.
func TestPipe(t *testing.T) {
	p := newProject(t, "fleet")
	const strange = `{ "apiVersion":"example.com/v2","kind":"Weather","metadata":{"name":"fleet-callout"},"spec":{"sky":"<blue>"} }`
	out := p.sh(`{ harmony build fleet-callout --version 1.0.0 </dev/null; echo '` + strange + `'; } | tee 1 | harmony publish | tee 2 | harmony deploy --target staging | tee 3 | harmony smoke > 4`)
	if out.code != 0 {
		t.Fatalf("exit status %d\n%s", out.code, out.stderr)
	}
	want := map[string]string{"1": "ImageRef", "2": "ChartRef", "3": "DeployResult", "4": "SmokeReport"}
	for name, kind := range want {
		text, err := os.ReadFile(filepath.Join(p.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for line := range strings.Lines(string(text)) {
			if err := schemas.Validate([]byte(line)); err != nil {
				t.Errorf("file %s: %v\n%s", name, err, line)
			}
			found = found || strings.Contains(line, `"kind":"`+kind+`"`)
		}
		if !found {
			t.Errorf("file %s has no %s", name, kind)
		}
		if name == "4" && !strings.Contains("\n"+string(text), "\n"+strange+"\n") {
			t.Errorf("the unknown document did not come out as it was:\n%s", text)
		}
	}
}

// One app whose build fails, in the middle of a plain pipe: the status of the
// last stage is the failure's, nothing of that app is published or deployed, and
// the others arrive.
func TestFailingBuildInAPipe(t *testing.T) {
	p := newProject(t, "fleet")
	p.rewrite("cmd/agent/main.go", "func main() {", "func main() { this does not compile")
	out := p.sh(`harmony build --all --version 1.0.0 </dev/null | harmony publish | harmony deploy --target staging > last; echo $?`)
	if strings.TrimSpace(out.stdout) != "1" {
		t.Errorf("status of the pipe %q, want 1\n%s", out.stdout, out.stderr)
	}
	text, err := os.ReadFile(filepath.Join(p.dir, "last"))
	if err != nil {
		t.Fatal(err)
	}
	all := documents(t, string(text))
	deployed := map[string]bool{}
	for _, d := range only(all, "DeployResult") {
		deployed[d.Metadata.Name] = true
	}
	if !deployed["fleet-callout"] || !deployed["fleet-operator"] || deployed["fleet-agent"] {
		t.Errorf("deployed %v", deployed)
	}
	if failures := only(all, "Failure"); len(failures) != 1 || failures[0].Metadata.Name != "fleet-agent" || failures[0].Spec.Code != 1 {
		t.Errorf("failures %+v", failures)
	}
	if tags := p.tags("agent"); len(tags) > 0 {
		t.Errorf("the registry has tags of the agent: %v", tags)
	}
	if !strings.Contains(out.stderr, "main.go:") {
		t.Errorf("the compiler's message is not shown:\n%s", out.stderr)
	}
}

// A smoke check that fails ends the release with 5, before production.
func TestFailedCheckStopsBeforeProduction(t *testing.T) {
	p := newProject(t, "fleet")
	p.rewrite("harmony.yaml", `"{.allowed}", equals: false`, `"{.allowed}", equals: true`)
	p.rewrite("harmony.yaml", "timeout: 30s", "timeout: 3s")
	out := p.run("harmony", "release", "fleet-callout", "--version", "1.0.0", "-o", "json")
	if out.code != 5 {
		t.Errorf("exit status %d, want 5\n%s", out.code, out.stderr)
	}
	if _, err := p.cluster.Client.CoreV1().Namespaces().Get(t.Context(), p.name+"-production", metav1.GetOptions{}); err == nil {
		t.Error("production was touched")
	}
	if !strings.Contains(out.stderr, "stranger-stays-out") {
		t.Errorf("the check is not named:\n%s", out.stderr)
	}
}

// A version that does not work goes back by itself: staging runs the release before
// again, production never ran another, and the failing check and what stands are told.
func TestFailedCheckTakesStagingBack(t *testing.T) {
	p := newProject(t, "fleet")
	p.rewrite("harmony.yaml", "timeout: 30s", "timeout: 5s")
	good := only(documents(t, p.must("harmony", "release", "fleet-callout", "--version", "1.0.0", "-o", "json").stdout), "DeployResult")
	p.rewrite("cmd/callout/handler.go", "Allowed: allowed,", "Allowed: true,")
	out := p.run("harmony", "release", "fleet-callout", "--version", "1.1.0", "--rollback-on-failure", "-o", "json")
	if out.code != 5 || !strings.Contains(out.stderr, "stranger-stays-out") || !strings.Contains(out.stderr, "staging was taken back to 1.0.0") ||
		!strings.Contains(out.stderr, "which passes the checks") {
		t.Errorf("exit status %d, want 5\n%s", out.code, out.stderr)
	}
	deployed, checked := only(documents(t, out.stdout), "DeployResult"), only(documents(t, out.stdout), "SmokeReport")
	if len(deployed) != 2 || deployed[1].Spec.Outcome != "rolled-back" || deployed[1].Spec.Image != good[0].Spec.Image || deployed[1].Spec.Chart != good[0].Spec.Chart {
		t.Errorf("deploys %+v", deployed)
	}
	if len(checked) != 2 || checked[0].Spec.Passed || checked[0].Metadata.Version != "1.1.0" || !checked[1].Spec.Passed || checked[1].Metadata.Version != "1.0.0" {
		t.Errorf("reports %+v", checked)
	}
	p.runsOnly(string(good[0].Spec.Image))
	for line := range strings.Lines(out.stdout) {
		if err := schemas.Validate([]byte(line)); err != nil {
			t.Errorf("%v\n%s", err, line)
		}
	}
	if history := p.must("helm", "history", "fleet-callout", "-n", p.name+"-staging").stdout; !strings.Contains(history, "failed: check stranger-stays-out failed") {
		t.Errorf("helm history:\n%s", history)
	}
}

// tags lists the tags of a repository of this project.
func (p *project) tags(repository string) []string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+os.Getenv("HARMONY_TEST_REGISTRY")+"/v2/"+p.name+"/"+repository+"/tags/list", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	var list struct{ Tags []string }
	if response.StatusCode == http.StatusNotFound {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		p.t.Fatal(err)
	}
	return list.Tags
}
