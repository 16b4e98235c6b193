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
)

// kills is how many random moments are tried, in releases of app.
const (
	kills = 20
	app   = "fleet-callout"
)

// kill -9 of a stage, of the dispatcher, or of all of them, at any moment of a
// release: the next run converges to the state that an undisturbed one gives.
func TestKilledAtRandomMoments(t *testing.T) {
	p := newProject(t, "fleet")
	p.rewrite("charts/callout/production.yaml", "replicas: 2", "replicas: 1")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	// How long an undisturbed release with a change takes.
	began := time.Now()
	p.must("harmony", "release", app, "--version", "1.0.0", "-o", "json")
	whole := time.Since(began)

	killed, image := 0, ""
	for i := range kills {
		version := fmt.Sprintf("1.0.%d", i+1)
		p.rewrite("cmd/callout/main.go", "func main() {", fmt.Sprintf("func main() {\n\tprintln(%q)\n", version))
		after := time.Duration(random.Int64N(int64(whole)))
		victim := []string{"harmony-build", "harmony-publish", "harmony-chart", "harmony-deploy", "harmony-smoke", "harmony", "group"}[random.IntN(7)]
		if p.releaseKilled(version, victim, after) {
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

// releaseKilled starts a release and kills the victim after a while. It reports
// whether the victim was there to be killed.
func (p *project) releaseKilled(version, victim string, after time.Duration) bool {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "harmony"), "release", app, "--version", version, "-o", "json")
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
