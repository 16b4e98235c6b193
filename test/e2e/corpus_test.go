package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/clustertest"
)

// Each repository of the corpus goes from harmony init to two checked targets, with no
// edit in between.
func TestCorpus(t *testing.T) {
	folders, err := filepath.Glob("../corpus/*/repo")
	if err != nil || len(folders) < 12 {
		t.Fatalf("%d repositories, %v", len(folders), err)
	}
	program := filepath.Join(t.TempDir(), "server")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../internal/clustertest/app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, folder := range folders {
		name := filepath.Base(filepath.Dir(folder))
		t.Run(name, func(t *testing.T) {
			p := newFolder(t)
			if err := os.CopyFS(p.dir, os.DirFS(folder)); err != nil {
				t.Fatal(err)
			}
			p.env = append(p.env, "HARMONY_REGISTRY="+clustertest.Registry(t)+"/"+p.name) // several have an app web
			p.addServer(program)
			if name == "umbrella" {
				p.publishParts()
			}
			p.releaseInitialized(filepath.Join(filepath.Dir(folder), "args"))
		})
	}
}

// addServer puts the program that the images contain beside each Dockerfile, and at the
// top.
func (p *project) addServer(program string) {
	p.t.Helper()
	p.copyIn(program, "server")
	dockerfiles, err := filepath.Glob(filepath.Join(p.dir, "*", "Dockerfile"))
	if err != nil {
		p.t.Fatal(err)
	}
	deeper, err := filepath.Glob(filepath.Join(p.dir, "*", "*", "Dockerfile"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, file := range slices.Concat(dockerfiles, deeper) {
		folder, err := filepath.Rel(p.dir, filepath.Dir(file))
		if err != nil {
			p.t.Fatal(err)
		}
		p.copyIn(program, filepath.Join(folder, "server"))
	}
}

// publishParts publishes the charts of others that the umbrella names, and has it name
// them where they are.
func (p *project) publishParts() {
	p.t.Helper()
	v := p.newVendor(clustertest.Push(p.t, p.name+"/server", "1.0").FullName())
	v.serve("ingress-nginx", "4.11.3")
	v.push("postgresql", "16.2.1")
	p.rewrite("platform/Chart.yaml", "https://charts.example.com/ingress-nginx", v.repository)
	p.rewrite("platform/Chart.yaml", "oci://registry.example.com/charts", v.registry)
}

// releaseInitialized runs init with the flags in a file, if there is one, and releases all
// apps.
func (p *project) releaseInitialized(args string) {
	p.t.Helper()
	flags, _ := os.ReadFile(args) // most have none
	if out := p.run("harmony", append([]string{"init"}, strings.Fields(string(flags))...)...); out.code != 0 {
		p.t.Fatalf("init: exit status %d\n%s%s", out.code, out.stdout, out.stderr)
	}
	p.must("harmony", "lock") // nothing, where there are no charts of others
	released := p.must("harmony", "release", "--all", "--version", "1.0.0", "-o", "json")
	list := documents(p.t, released.stdout)
	apps := len(only(list, "ChartRef"))
	if deploys := only(list, "DeployResult"); apps == 0 || len(deploys) != 2*apps {
		p.t.Errorf("%d deploys of %d apps\n%s", len(deploys), apps, released.stderr)
	}
	reports := only(list, "SmokeReport")
	if len(reports) != 2*apps || slices.ContainsFunc(reports, func(d document) bool { return !d.Spec.Passed }) {
		p.t.Errorf("smoke reports %+v", reports)
	}
}
