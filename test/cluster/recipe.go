package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// recipe says how to build the binaries of one folder of versions/.
type recipe struct {
	name     string            // the folder
	module   string            // whose version in go.mod is the version of it all
	binaries map[string]string // file name → package
	stamps   []string          // VARIABLE=VALUE to link; $version, $major and $minor stand for the module's
	cold     time.Duration     // how long a build takes on two cores with empty caches
	use      use               // who needs it
	names    []string          // further names of the only binary
	crds     string            // folder of the module with custom resource definitions
}

func recipes() []recipe {
	return []recipe{
		{
			name: "kubernetes", module: "k8s.io/kubernetes", cold: 270 * time.Second,
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
			name: "etcd", module: "go.etcd.io/etcd/server/v3", cold: 20 * time.Second,
			binaries: map[string]string{"etcd": "go.etcd.io/etcd/server/v3"},
		},
		{
			name: "helm", module: "helm.sh/helm/v3", cold: 100 * time.Second, use: forTests,
			binaries: map[string]string{"helm": "helm.sh/helm/v3/cmd/helm"},
			stamps:   []string{"helm.sh/helm/v3/internal/version.version=v$version"},
		},
		{
			name: "sops", module: "github.com/getsops/sops/v3", cold: 3 * time.Minute, use: forTests,
			binaries: map[string]string{"sops": "github.com/getsops/sops/v3/cmd/sops"},
		},
		{
			name: "crane", module: "github.com/google/go-containerregistry", cold: 30 * time.Second, use: forBench,
			binaries: map[string]string{"crane": "github.com/google/go-containerregistry/cmd/crane"},
			stamps:   []string{"github.com/google/go-containerregistry/cmd/crane/cmd.Version=$version"},
		},
		{
			name: "ko", module: "github.com/google/ko", cold: time.Minute, use: forBench,
			binaries: map[string]string{"ko": "github.com/google/ko"},
			stamps:   []string{"github.com/google/ko/pkg/commands.Version=v$version"},
		},
		{
			name: "coredns", module: "github.com/coredns/coredns", cold: time.Minute,
			binaries: map[string]string{"coredns": "."},
		},
		{
			name: "buildkit", module: "github.com/moby/buildkit", cold: 70 * time.Second, use: forTests,
			binaries: map[string]string{
				"buildctl":  "github.com/moby/buildkit/cmd/buildctl",
				"buildkitd": "github.com/moby/buildkit/cmd/buildkitd",
			},
			stamps: []string{"github.com/moby/buildkit/version.Version=v$version"},
		},
		{
			name: "flux-source-controller", module: "github.com/fluxcd/source-controller", cold: 3 * time.Minute, use: forTests,
			binaries: map[string]string{"source-controller": "github.com/fluxcd/source-controller"},
			crds:     "config/crd/bases",
		},
		{
			name: "flux-helm-controller", module: "github.com/fluxcd/helm-controller", cold: 85 * time.Second, use: forTests,
			binaries: map[string]string{"helm-controller": "github.com/fluxcd/helm-controller"},
			crds:     "config/crd/bases",
		},
		{
			// One program that acts by the name it is called by.
			name: "argocd", module: "github.com/argoproj/argo-cd/v3", cold: 3 * time.Minute, use: forTests,
			binaries: map[string]string{"argocd": "github.com/argoproj/argo-cd/v3/cmd"},
			names:    []string{"argocd-application-controller", "argocd-repo-server"},
			crds:     "manifests/crds",
		},
		{
			// Started by the tests that need it, each for its own namespace; so is flagger.
			name: "argo-rollouts", module: "github.com/argoproj/argo-rollouts", cold: 7 * time.Minute, use: forTests,
			binaries: map[string]string{"rollouts-controller": "github.com/argoproj/argo-rollouts/cmd/rollouts-controller"},
			crds:     "manifests/crds",
		},
		{
			name: "flagger", module: "github.com/fluxcd/flagger", cold: 3 * time.Minute, use: forTests,
			binaries: map[string]string{"flagger": "github.com/fluxcd/flagger/cmd/flagger"},
			crds:     "charts/flagger/crds",
		},
	}
}

// pins are the contents of a recipe's go.mod and go.sum, and of the program
// next to them, if there is one.
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

// target is the folder of the recipe's binaries in the cache. One that is there
// is always complete.
func (c *cluster) target(source string, r recipe) (folder, version string, built bool, err error) {
	p, err := readPins(source)
	if err != nil {
		return "", "", false, err
	}
	key, err := r.key(p, runtime.Version())
	if err != nil {
		return "", "", false, err
	}
	if version, err = r.version(p); err != nil {
		return "", "", false, err
	}
	folder = filepath.Join(c.cache, "bin", key)
	_, missing := os.Stat(folder)
	return folder, version, missing == nil, nil
}

// build gives the folder of the recipe's binaries, which it builds if they are
// not in the cache.
func (c *cluster) build(ctx context.Context, source string, r recipe) (string, error) {
	target, version, built, err := c.target(source, r)
	if err != nil || built {
		return target, err
	}
	unlock, err := c.lock(ctx, target)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	c.say("building %s %s (about %s)", r.name, version, r.cold)
	return target, c.compile(ctx, r, source, version, target)
}

// announce says what is about to be built, and how long that takes.
func (c *cluster) announce(source string, list []recipe) error {
	var total time.Duration
	var names []string
	for _, r := range list {
		_, version, built, err := c.target(filepath.Join(source, "versions", r.name), r)
		if err != nil {
			return err
		}
		if !built {
			total += r.cold
			names = append(names, fmt.Sprintf("%s %s (%s)", r.name, version, r.cold))
		}
	}
	if len(names) > 0 {
		c.say("to build, once, in about %s on two idle cores: %s", total, strings.Join(names, ", "))
	}
	return nil
}

// compile builds into a folder next to target, which it then renames.
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

// goCommand builds in a folder of versions/, and says every quarter of a minute
// how many of the packages that have to be compiled are done.
func (c *cluster) goCommand(ctx context.Context, dir string, args []string) error {
	output := slices.Index(args, "-o")
	stale, err := c.command(ctx, dir, append(append([]string{"list", "-deps", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}"}, args[1:output]...), args[output+2:]...), io.Discard)
	if err != nil {
		return err
	}
	var done lineCount
	start, built := time.Now(), make(chan struct{})
	go func() {
		ticker := time.NewTicker(15 * time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-built:
				return
			case <-ticker.C:
				c.say("  %d of %d packages (%s)", done.Load(), bytes.Count(stale, []byte("\n")), time.Since(start).Round(time.Second))
			}
		}
	}()
	_, err = c.command(ctx, dir, append([]string{"build", "-v"}, args[1:]...), &done)
	close(built)
	return err
}

// command runs the go command in a folder of versions/ and returns what it
// prints; progress gets a copy of stderr.
func (c *cluster) command(ctx context.Context, dir string, args []string, progress io.Writer) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	if os.Getenv("GOGC") == "" {
		cmd.Env = append(cmd.Env, "GOGC=400") // the compiler takes more memory and a fifth less time
	}
	cmd.Stdout, cmd.Stderr = &stdout, io.MultiWriter(&stderr, progress)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, tail(stderr.Bytes(), 15))
	}
	return stdout.Bytes(), nil
}

// lineCount counts the lines that are written to it.
type lineCount struct{ atomic.Int64 }

func (n *lineCount) Write(text []byte) (int, error) {
	n.Add(int64(bytes.Count(text, []byte("\n"))))
	return len(text), nil
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
