package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const app = "fleet-callout"

// envKills is how many random moments each test tries; without it, as many as take a few
// minutes.
const envKills = "HARMONY_TEST_KILLS"

// kills is how many random moments are tried, and what chooses them.
func kills(t *testing.T, usual int) (int, *rand.Rand) {
	t.Helper()
	if text := os.Getenv(envKills); text != "" {
		var err error
		if usual, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", envKills, err)
		}
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return usual, rand.New(rand.NewPCG(seed, 0))
}

// victim is one of the processes of a release, or all of them.
func victim(random *rand.Rand) string {
	all := []string{"harmony-build", "harmony-publish", "harmony-chart", "harmony-deploy", "harmony-smoke", "harmony", "group"}
	return all[random.IntN(len(all))]
}

// kill -9 of a stage, of the dispatcher, or of all of them, at any moment of a
// release: the next run converges to the state that an undisturbed one gives.
func TestKilledAtRandomMoments(t *testing.T) {
	p := newProject(t, "fleet")
	p.rewrite("charts/callout/production.yaml", "replicas: 2", "replicas: 1")
	kills, random := kills(t, 12)

	// How long an undisturbed release with a change takes.
	began := time.Now()
	p.must("harmony", "release", app, "--version", "1.0.0", "-o", "json")
	whole := time.Since(began)

	killed, image := 0, ""
	for i := range kills {
		version := fmt.Sprintf("1.0.%d", i+1)
		p.rewrite("cmd/callout/main.go", "func main() {", fmt.Sprintf("func main() {\n\tprintln(%q)\n", version))
		after := time.Duration(random.Int64N(int64(whole)))
		victim := victim(random)
		if p.releaseKilled(app, version, victim, after) {
			killed++
		}
		out := p.run("harmony", "release", app, "--version", version, "-o", "json")
		if out.code != 0 {
			t.Fatalf("version %s, %s killed after %s: the next run ends with %d\n%s", version, victim, after, out.code, out.stderr)
		}
		results := only(documents(t, out.stdout), "DeployResult")
		if len(results) != 2 || results[0].Spec.Image != results[1].Spec.Image || string(results[0].Spec.Image) == image {
			t.Errorf("version %s: deploys %+v, want the same new image on two targets", version, results)
			continue
		}
		image = string(results[0].Spec.Image)
		p.checkReleases(version)
	}
	if killed < kills/2 {
		t.Errorf("only %d of %d runs were hit before they ended", killed, kills)
	}
	p.checkTags("callout")
}

// kill -9 at any moment of a release of three apps to two targets, of which a check fails:
// the next run ends with 5 and takes staging back to what ran before. Where the killed run
// had brought the version already it leaves it, and a rollback returns to what ran before.
// Production stays as it is, and no Job and no other pod is left.
func TestKilledWhileACheckFails(t *testing.T) {
	p := newProject(t, "fleet")
	p.rewrite("charts/callout/production.yaml", "replicas: 2", "replicas: 1")
	good := only(documents(t, p.must("harmony", "release", "--all", "--version", "1.0.0", "-o", "json").stdout), "DeployResult")
	var image string
	for _, deployed := range good {
		if deployed.Metadata.Name == app {
			image = string(deployed.Spec.Image)
		}
	}
	p.rewrite("harmony.yaml", "    - {name: port", "    - {name: books, job: {env: {TOKENS_FILE: /none}}, timeout: 4s}\n    - {name: port")
	kills, random := kills(t, 3)
	var whole time.Duration
	killed := 0
	for i := range kills + 1 {
		version := fmt.Sprintf("1.1.%d", i)
		p.rewrite("cmd/callout/main.go", "func main() {", fmt.Sprintf("func main() {\n\tprintln(%q)\n", version))
		what := "undisturbed"
		if i > 0 {
			after, victim := time.Duration(random.Int64N(int64(whole))), victim(random)
			what = fmt.Sprintf("%s killed after %s", victim, after)
			if p.releaseKilled("--all", version, victim, after) {
				killed++
			}
		}
		began := time.Now()
		out := p.run("harmony", "release", "--all", "--version", version, "--rollback-on-failure", "-o", "json")
		if i == 0 {
			whole = time.Since(began)
		}
		if out.code != 5 {
			t.Fatalf("version %s, %s: the next run ends with %d, want 5\n%s", version, what, out.code, out.stderr)
		}
		if strings.Contains(out.stderr, "staging was left on "+version+": an earlier run brought it there") {
			p.must("harmony", "rollback", app, "--target", "staging")
		}
		p.nothingLeft(version+", "+what, image)
	}
	// What killed runs held is taken over by the next one that changes something.
	p.rewrite("harmony.yaml", "    - {name: books, job: {env: {TOKENS_FILE: /none}}, timeout: 4s}\n", "")
	p.must("harmony", "release", "--all", "--version", "2.0.0")
	for _, target := range []string{"staging", "production"} {
		leases, err := p.cluster.Client.CoordinationV1().Leases(p.name+"-"+target).List(t.Context(), metav1.ListOptions{})
		if err != nil || len(leases.Items) > 0 {
			t.Errorf("%s has %d Leases, %v", target, len(leases.Items), err)
		}
	}
	if killed < kills/2 {
		t.Errorf("only %d of %d runs were hit before they ended", killed, kills)
	}
}

// nothingLeft holds that both targets run the app by this digest, and have no Jobs.
func (p *project) nothingLeft(when, digest string) {
	p.t.Helper()
	for _, target := range []string{"staging", "production"} {
		namespace, ctx := p.name+"-"+target, p.t.Context()
		jobs, err := p.cluster.Client.BatchV1().Jobs(namespace).List(ctx, metav1.ListOptions{})
		if err != nil || len(jobs.Items) > 0 {
			p.t.Errorf("version %s: %s has %d Jobs, %v", when, target, len(jobs.Items), err)
		}
		pods, err := p.cluster.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + app})
		if err != nil {
			p.t.Fatal(err)
		}
		running := 0
		for _, pod := range pods.Items {
			if pod.DeletionTimestamp != nil {
				continue
			}
			running++
			if id := pod.Status.ContainerStatuses[0].ImageID; !strings.HasSuffix(id, digest) {
				p.t.Errorf("version %s: %s runs %s, not %s", when, target, id, digest)
			}
		}
		if running != 1 {
			p.t.Errorf("version %s: %s has %d pods, want 1", when, target, running)
		}
	}
}

// releaseKilled starts a release and kills the victim after a while. It reports
// whether the victim was there to be killed.
func (p *project) releaseKilled(apps, version, victim string, after time.Duration) bool {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "harmony"), "release", apps, "--version", version, "--rollback-on-failure", "-o", "json")
	cmd.Dir, cmd.Env = p.dir, p.env
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
		return false
	case <-time.After(after):
	}
	hit := false
	for _, child := range children(p.t, cmd.Process.Pid) {
		if victim == "group" || child.name == victim {
			hit = syscall.Kill(child.pid, syscall.SIGKILL) == nil || hit
		}
	}
	if victim == "group" || victim == "harmony" {
		hit = cmd.Process.Kill() == nil || hit
	}
	<-ended
	return hit
}

// child is a process that another one started.
type child struct {
	pid  int
	name string
}

// children lists the processes whose parent is pid, from /proc.
func children(t *testing.T, pid int) []child {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var list []child
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended since
		}
		id, rest, _ := strings.Cut(string(text), " (")
		name, rest, _ := strings.Cut(rest, ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != strconv.Itoa(pid) {
			continue
		}
		number, err := strconv.Atoi(id)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, child{number, name})
	}
	return list
}

// checkReleases holds that no Helm release of the project is left pending or
// failed.
func (p *project) checkReleases(version string) {
	p.t.Helper()
	for _, target := range []string{"staging", "production"} {
		out := p.must("helm", "list", "--all", "-n", p.name+"-"+target, "-o", "json")
		var releases []struct{ Name, Status string }
		if err := json.Unmarshal([]byte(out.stdout), &releases); err != nil {
			p.t.Fatal(err)
		}
		if len(releases) != 1 || releases[0].Status != "deployed" {
			p.t.Errorf("version %s: releases on %s: %+v, want one that is deployed", version, target, releases)
		}
	}
}

// checkTags holds that everything a tag points at is in the registry.
func (p *project) checkTags(repository string) {
	p.t.Helper()
	base := "http://" + os.Getenv("HARMONY_TEST_REGISTRY") + "/v2/" + p.name + "/" + repository
	tags := p.tags(repository)
	if len(tags) == 0 {
		p.t.Errorf("%s has no tags", repository)
	}
	for _, tag := range tags {
		var manifest struct {
			Config struct{ Digest string }
			Layers []struct{ Digest string }
		}
		request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, base+"/manifests/"+tag, nil)
		if err != nil {
			p.t.Fatal(err)
		}
		request.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			p.t.Fatal(err)
		}
		err = json.NewDecoder(response.Body).Decode(&manifest)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || len(manifest.Layers) == 0 {
			p.t.Errorf("tag %s of %s: status %d, %v, %d layers", tag, repository, response.StatusCode, err, len(manifest.Layers))
		}
		for _, blob := range append(manifest.Layers, manifest.Config) {
			response, err := http.Head(base + "/blobs/" + blob.Digest)
			if err != nil {
				p.t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				p.t.Errorf("tag %s of %s: blob %s is not in the registry: %s", tag, repository, blob.Digest, response.Status)
			}
		}
	}
}
