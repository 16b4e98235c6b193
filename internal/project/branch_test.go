package project

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestBranchOf(t *testing.T) {
	for want, environment := range map[string]map[string]string{
		"":           {"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "web-v1.0.0"},
		"main":       {"GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "main"},
		"cart":       {"GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "12/merge", "GITHUB_HEAD_REF": "cart"},
		"feature/a":  {"CI_COMMIT_BRANCH": "feature/a"},
		"gitlab-mr":  {"CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "gitlab-mr"},
		"woodpecker": {"CI_COMMIT_BRANCH": "main", "CI_COMMIT_SOURCE_BRANCH": "woodpecker"},
		"pr-7":       {"HARMONY_BRANCH": "pr-7", "GITHUB_HEAD_REF": "cart", "CI_COMMIT_BRANCH": "main"},
	} {
		if got := branchOf(func(name string) string { return environment[name] }); got != want {
			t.Errorf("%v: %q, want %q", environment, got, want)
		}
	}
}

func TestRepositoryOf(t *testing.T) {
	for remote, want := range map[string]string{
		"": "",
		"https://ci:secret@git.example.com/shop/web.git": "shop/web",
		"https://git.example.com/shop/web/":              "shop/web",
		"git@git.example.com:shop/web.git":               "shop/web",
		"ssh://git@git.example.com:22/shop/web.git":      "shop/web",
		"/srv/git/web.git":                               "srv/git/web",
		"https://git.example.com":                        "",
	} {
		if got := repositoryOf(remote); got != want {
			t.Errorf("%s: %q, want %q", remote, got, want)
		}
	}
}

const previewProject = `apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: web}
spec: {image: {dockerfile: {}}, chart: {path: chart, image: {value: image}}}
---
apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: office}
spec:
  continuousDelivery: {adapter: helm}
  targets:
    preview: {inCluster: {namespace: "{app}-{branch}", ttl: 72h}}
    staging: {inCluster: {namespace: fleet}}
`

func TestTopologyOfABranch(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, config.FileName)
	if err := os.WriteFile(file, []byte(previewProject), 0o600); err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) {
		t.Helper()
		c := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	environment := map[string]string{}
	read := func(target string) (protocol.Preview, error) {
		t.Helper()
		s := Source{File: file, Topology: "office", Version: "1.0.0", Getenv: func(name string) string { return environment[name] }, Needs: config.Needs{Targets: []string{target}}}
		topology, _, err := s.Read(t.Context(), []string{"web"})
		if err != nil {
			return protocol.Preview{}, err
		}
		if topology.Targets["staging"].InCluster.Preview != nil {
			t.Error("staging has become a preview")
		}
		return *topology.Targets["preview"].InCluster.Preview, nil
	}
	if _, err := read("preview"); protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), `target "preview": the namespace {app}-{branch} needs a branch`) {
		t.Errorf("without git: %v", err)
	}
	git("init", "--quiet", "--initial-branch", "feature/cart")
	git("commit", "--quiet", "--allow-empty", "-m", "one")
	git("remote", "add", "origin", "git@git.example.com:shop/web.git")
	want := protocol.Preview{Project: "shop/web", Branch: "feature/cart"}
	if got, err := read("preview"); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	git("checkout", "--quiet", "--detach")
	if _, err := read("preview"); protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("a detached HEAD: %v", err)
	}
	if _, err := read("staging"); err != nil {
		t.Errorf("a detached HEAD, and a target that needs no branch: %v", err)
	}
	environment["GITHUB_HEAD_REF"] = "feature/cart"
	if got, err := read("preview"); err != nil || got != want {
		t.Errorf("a detached HEAD in CI: %+v, %v", got, err)
	}
}
