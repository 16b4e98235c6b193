package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
)

// recipe says how to build the binaries of one folder of versions/.
type recipe struct {
	name     string            // the folder
	module   string            // whose version in go.mod is the version of it all
	binaries map[string]string // file name → package
	stamps   []string          // VARIABLE=VALUE to link; $version, $major and $minor stand for the module's
	minutes  string            // how long a cold build takes on two cores
	use      use               // who needs it
	names    []string          // further names of the only binary
	crds     string            // folder of the module with custom resource definitions
}

func recipes() []recipe {
	return []recipe{
		{
			name: "kubernetes", module: "k8s.io/kubernetes", minutes: "5 minutes",
			binaries: map[string]string{
				"kube-apiserver":          "k8s.io/kubernetes/cmd/kube-apiserver",
				"kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
				"kube-proxy":              "k8s.io/kubernetes/cmd/kube-proxy",
				"kube-scheduler":          "k8s.io/kubernetes/cmd/kube-scheduler",
				"kubectl":                 "k8s.io/kubernetes/cmd/kubectl",
				"kubelet":                 "k8s.io/kubernetes/cmd/kubelet",
			},
			stamps: []string{
				"k8s.io/component-base/version.gitVersion=v$version",
				"k8s.io/component-base/version.gitMajor=$major",
				"k8s.io/component-base/version.gitMinor=$minor",
			},
		},
		{
			name: "etcd", module: "go.etcd.io/etcd/server/v3", minutes: "half a minute",
			binaries: map[string]string{"etcd": "go.etcd.io/etcd/server/v3"},
		},
		{
			name: "helm", module: "helm.sh/helm/v3", minutes: "2 minutes",
			binaries: map[string]string{"helm": "helm.sh/helm/v3/cmd/helm"},
			stamps:   []string{"helm.sh/helm/v3/internal/version.version=v$version"},
		},
		{
			name: "crane", module: "github.com/google/go-containerregistry", minutes: "half a minute", use: forBench,
			binaries: map[string]string{"crane": "github.com/google/go-containerregistry/cmd/crane"},
			stamps:   []string{"github.com/google/go-containerregistry/cmd/crane/cmd.Version=$version"},
		},
		{
			name: "ko", module: "github.com/google/ko", minutes: "a minute", use: forBench,
			binaries: map[string]string{"ko": "github.com/google/ko"},
			stamps:   []string{"github.com/google/ko/pkg/commands.Version=v$version"},
		},
		{
			name: "coredns", module: "github.com/coredns/coredns", minutes: "a minute",
			binaries: map[string]string{"coredns": "."},
		},
		{
			name: "buildkit", module: "github.com/moby/buildkit", minutes: "a minute", use: forTests,
			binaries: map[string]string{
				"buildctl":  "github.com/moby/buildkit/cmd/buildctl",
				"buildkitd": "github.com/moby/buildkit/cmd/buildkitd",
			},
			stamps: []string{"github.com/moby/buildkit/version.Version=v$version"},
		},
		{
			name: "flux-source-controller", module: "github.com/fluxcd/source-controller", minutes: "3 minutes", use: forTests,
			binaries: map[string]string{"source-controller": "github.com/fluxcd/source-controller"},
			crds:     "config/crd/bases",
		},
		{
			name: "flux-helm-controller", module: "github.com/fluxcd/helm-controller", minutes: "2 minutes", use: forTests,
			binaries: map[string]string{"helm-controller": "github.com/fluxcd/helm-controller"},
			crds:     "config/crd/bases",
		},
		{
			// One program that acts by the name it is called by.
			name: "argocd", module: "github.com/argoproj/argo-cd/v3", minutes: "3 minutes", use: forTests,
			binaries: map[string]string{"argocd": "github.com/argoproj/argo-cd/v3/cmd"},
			names:    []string{"argocd-application-controller", "argocd-repo-server"},
			crds:     "manifests/crds",
		},
	}
}

// pins are the contents of a recipe's go.mod and go.sum, and of the program
// that lies beside them, if one does.
type pins struct{ mod, sum, program []byte }

func readPins(dir string) (pins, error) {
	var p pins
	for file, content := range map[string]*[]byte{"go.mod": &p.mod, "go.sum": &p.sum, "main.go": &p.program} {
		read, err := os.ReadFile(filepath.Join(dir, file))
		if file == "main.go" {
			err = ignore(err, fs.ErrNotExist)
		}
		if err != nil {
			return pins{}, err
		}
		*content = read
	}
	return p, nil
}

// version is the version of the recipe's module, without the v.
func (r recipe) version(p pins) (string, error) {
	line := regexp.MustCompile(`(?m)^\s*(?:require )?` + regexp.QuoteMeta(r.module) + ` v(\S+)`)
	match := line.FindSubmatch(p.mod)
	if match == nil {
		return "", fmt.Errorf("versions/%s/go.mod does not require %s", r.name, r.module)
	}
	return string(match[1]), nil
}

// key names the result of the recipe: it changes with everything that the
// binaries depend on.
func (r recipe) key(p pins, goVersion string) (string, error) {
	version, err := r.version(p)
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	inputs := [][]byte{p.mod, p.sum, p.program, []byte(goVersion), []byte(runtime.GOARCH), []byte(strings.Join(r.args(version, ""), "\n"))}
	for _, input := range inputs {
		fmt.Fprintf(hash, "%d\n", len(input))
		hash.Write(input)
	}
	return fmt.Sprintf("%s-%s-%x", r.name, version, hash.Sum(nil)[:6]), nil
}

// args are the arguments of the go command that builds into the folder dir.
func (r recipe) args(version, dir string) []string {
	flags := []string{"-s", "-w"}
	part := append(strings.SplitN(version, ".", 3), "", "")
	values := map[string]string{"version": version, "major": part[0], "minor": part[1]}
	for _, stamp := range r.stamps {
		flags = append(flags, "-X", os.Expand(stamp, func(name string) string { return values[name] }))
	}
	output := dir + "/"
	var packages []string
	for file, pkg := range r.binaries {
		packages = append(packages, pkg)
		if len(r.binaries) == 1 {
			output += file
		}
	}
	slices.Sort(packages)
	build := []string{"build", "-buildvcs=false", "-gcflags=all=-dwarf=false", "-ldflags", strings.Join(flags, " "), "-o", output}
	return append(build, packages...)
}

// build gives the folder of the recipe's binaries, which it builds if they are
// not in the cache. A folder in the cache is always complete.
func (c *cluster) build(ctx context.Context, source string, r recipe) (string, error) {
	p, err := readPins(source)
	if err != nil {
		return "", err
	}
	key, err := r.key(p, runtime.Version())
	if err != nil {
		return "", err
	}
	target := filepath.Join(c.cache, "bin", key)
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	unlock, err := c.lock(ctx, target)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	version, err := r.version(p)
	if err != nil {
		return "", err
	}
	c.say("building %s %s (about %s, once)", r.name, version, r.minutes)
	return target, c.compile(ctx, r, source, version, target)
}

// compile builds into a folder beside target, which it then renames.
func (c *cluster) compile(ctx context.Context, r recipe, source, version, target string) error {
	draft := target + ".draft"
	if err := os.RemoveAll(draft); err != nil {
		return err
	}
	if err := os.MkdirAll(draft, 0o755); err != nil {
		return err
	}
	if err := c.goCommand(ctx, source, r.args(version, draft)); err != nil {
		return fmt.Errorf("build %s: %w", r.name, err)
	}
	for _, name := range r.names {
		for file := range r.binaries {
			if err := os.Symlink(file, filepath.Join(draft, name)); err != nil {
				return err
			}
		}
	}
	if err := c.copyCRDs(ctx, r, source, filepath.Join(draft, crdFolder)); err != nil {
		return fmt.Errorf("build %s: %w", r.name, err)
	}
	return os.Rename(draft, target)
}

// goCommand runs the go command in a folder of versions/, and says every half
// minute that it still does.
func (c *cluster) goCommand(ctx context.Context, dir string, args []string) error {
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	if os.Getenv("GOGC") == "" {
		cmd.Env = append(cmd.Env, "GOGC=400") // the compiler takes more memory and a fifth less time
	}
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Start(); err != nil {
		return err
	}
	start, done := time.Now(), make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	ticker := time.NewTicker(30 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("%w\n%s", err, tail(output.Bytes(), 15))
			}
			return nil
		case <-ticker.C:
			c.say("  still building (%s)", time.Since(start).Round(time.Second))
		}
	}
}

// tail is the last lines of a text, each cut to what a terminal can show.
func tail(text []byte, lines int) string {
	const width = 300
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	last := slices.Clone(all[max(0, len(all)-lines):])
	for i, line := range last {
		if len(line) > width {
			last[i] = strings.ToValidUTF8(line[:width], "") + "…"
		}
	}
	return strings.Join(last, "\n")
}
