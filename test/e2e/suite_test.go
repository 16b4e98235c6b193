// Package e2e runs the suite as its users do, on a real cluster and registry:
// the binaries as they are built, the fleet example, and the shell.
package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/clustertest"
)

// folder is where TestMain lets the suite be built.
var folder string

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "harmony-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

// binaries builds the suite once for all tests of a run.
var binaries = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("go", "build", "-o", folder+"/", "./cmd/...")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the suite: %w\n%s", err, out)
	}
	return folder, nil
})

// project is a folder of its own, which gives it namespaces of its own.
type project struct {
	t       *testing.T
	cluster clustertest.Cluster
	dir     string
	name    string
	bin     string
	env     []string
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// newProject is a copy of an example.
func newProject(t *testing.T, example string) *project {
	t.Helper()
	p := newFolder(t)
	if err := os.CopyFS(p.dir, os.DirFS(filepath.Join("..", "..", "examples", example))); err != nil {
		t.Fatal(err)
	}
	// Images of this test's own: what another test has pushed is not found.
	p.rewrite("harmony.yaml", "repository: fleet/", "repository: "+p.name+"/")
	return p
}

// newFolder is a project without files, whose folder does not exist yet.
func newFolder(t *testing.T) *project {
	t.Helper()
	cluster := clustertest.Config(t)
	registry := clustertest.Registry(t)
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("e2e-%x", time.Now().UnixNano()&0xffffffffff)
	p := &project{t: t, cluster: cluster, name: name, bin: bin, dir: filepath.Join(t.TempDir(), name)}
	p.env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "CI=") || strings.HasPrefix(v, "GITHUB_") || strings.HasPrefix(v, "HARMONY_")
	}),
		"PATH="+bin+":"+os.Getenv("PATH"), "KUBECONFIG="+cluster.Kubeconfig, "HARMONY_REGISTRY="+registry,
		"XDG_CACHE_HOME="+t.TempDir(), "GOCACHE="+goCache(t),
	)
	for _, target := range []string{"staging", "production"} {
		cluster.DeleteNamespace(t, name+"-"+target)
	}
	return p
}

// goCache is the compiler's cache: it is not harmony's, and is kept.
func goCache(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// rewrite changes a file of the project; the old text must be there.
func (p *project) rewrite(file, from, to string) {
	p.t.Helper()
	path := filepath.Join(p.dir, file)
	text, err := os.ReadFile(path)
	if err != nil {
		p.t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(from)) {
		p.t.Fatalf("%s has no %q", file, from)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(text, []byte(from), []byte(to)), fs.FileMode(0o644)); err != nil {
		p.t.Fatal(err)
	}
}

// output is what a command left.
type output struct {
	code           int
	stdout, stderr string
}

// command makes a command in the project's folder, with no stdin.
func (p *project) command(name string, args ...string) *exec.Cmd {
	if own := filepath.Join(p.bin, name); isFile(own) {
		name = own
	}
	cmd := exec.CommandContext(p.t.Context(), name, args...)
	cmd.Dir, cmd.Env = p.dir, p.env
	return cmd
}

func (p *project) run(name string, args ...string) output {
	p.t.Helper()
	cmd := p.command(name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		p.t.Fatalf("%s: %v", name, err)
	}
	return output{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// sh runs a script in a shell that does not know pipefail.
func (p *project) sh(script string) output {
	p.t.Helper()
	return p.run("sh", "-c", script)
}

// must runs a command that has to succeed.
func (p *project) must(name string, args ...string) output {
	p.t.Helper()
	out := p.run(name, args...)
	if out.code != 0 {
		p.t.Fatalf("%s %s: exit status %d\n%s\n%s", name, strings.Join(args, " "), out.code, out.stdout, out.stderr)
	}
	return out
}

// document is what these tests look at in a document.
type document struct {
	Kind     string
	Metadata struct{ Name, Version string }
	Spec     struct {
		Outcome, Target, Digest, Location, Registry, Repository, Tag, Path string
		// A digest in a DeployResult, an object in other documents.
		Image, Chart      text
		Unchanged, Passed bool
		Revision, Code    int
	}
}

// text is a string of a document; what is an object there is none.
type text string

func (s *text) UnmarshalJSON(data []byte) error {
	if data[0] != '"' {
		return nil
	}
	return json.Unmarshal(data, (*string)(s))
}

func documents(t *testing.T, stream string) []document {
	t.Helper()
	var list []document
	for line := range strings.Lines(stream) {
		var d document
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		list = append(list, d)
	}
	return list
}

// only returns the documents of a kind.
func only(list []document, kind string) []document {
	return slices.DeleteFunc(slices.Clone(list), func(d document) bool { return d.Kind != kind })
}
