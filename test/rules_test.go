// Package test holds the tests of the repository as a whole: who may import
// whom, and that the README is true.
package test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/nationtech/harmony/"

// imports lists what go list prints for a format, over packages.
func imports(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list"}, args...)...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v", strings.Join(args, " "), err)
	}
	return strings.Fields(string(out))
}

// What a binary links decides how fast it starts.
func TestBinariesLinkOnlyWhatTheyNeed(t *testing.T) {
	const (
		kubernetes = "k8s.io/"
		helm       = "helm.sh/"
		helmAction = "helm.sh/helm/v3/pkg/action"
		containers = "github.com/google/go-containerregistry/"
		buildkit   = "github.com/moby/buildkit/"
		registry   = "github.com/distribution/distribution/"
		schemas    = module + "schemas"
	)
	for command, forbidden := range map[string][]string{
		"harmony":         {kubernetes, helm, containers, buildkit, registry, schemas},
		"harmony-build":   {kubernetes, helm, registry, schemas},
		"harmony-publish": {kubernetes, helm, buildkit, registry, schemas},
		// Helm's engine, which renders charts before they are pushed, brings the scheme of client-go/kubernetes, but no client.
		"harmony-chart":  {helmAction, buildkit, registry, schemas, "k8s.io/client-go/kubernetes/typed", "k8s.io/cli-runtime"},
		"harmony-deploy": {buildkit, registry, schemas},
		// What edge devices report lies in a registry.
		"harmony-smoke":    {helm, buildkit, registry, schemas, "k8s.io/client-go/kubernetes", "k8s.io/cli-runtime"},
		"harmony-monitor":  {helm, containers, buildkit, registry, schemas, "k8s.io/client-go/kubernetes", "k8s.io/cli-runtime"},
		"harmony-devices":  {kubernetes, helm, buildkit, registry, schemas},
		"harmony-registry": {kubernetes, helm, buildkit, schemas},
		"harmony-plugin":   {kubernetes, helm, buildkit, registry, schemas},
	} {
		for _, dependency := range imports(t, "-deps", "./cmd/"+command) {
			for _, prefix := range forbidden {
				if strings.HasPrefix(dependency, prefix) {
					t.Errorf("%s links %s", command, dependency)
				}
			}
		}
	}
	if !slices.Contains(imports(t, "-deps", "./cmd/harmony-deploy"), helmAction) {
		t.Errorf("harmony-deploy does not link %s: this test looks for the wrong thing", helmAction)
	}
}

// A new stage needs no change in the dispatcher: it knows the word of none but
// those of the built-in pipeline.
func TestDispatcherKnowsNothingOfMonitoring(t *testing.T) {
	for _, pattern := range []string{"../cmd/harmony/*.go", "../internal/pipeline/*.go", "../internal/plugins/discovery/*.go", "../internal/cli/term/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files, %v", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(file, "_test.go") && bytes.Contains(bytes.ToLower(text), []byte("monitor")) {
				t.Errorf("%s knows of monitoring", file)
			}
		}
	}
}

// What a third party imports stays small.
func TestPublicPackagesImportLittle(t *testing.T) {
	const semver, protocol, capability = "github.com/Masterminds/semver/v3", module + "pkg/protocol", module + "pkg/capability"
	allowed := map[string][]string{
		"pkg/protocol":       {semver},
		"pkg/capability":     {semver, protocol},
		"pkg/plugin":         {semver, protocol, capability},
		"pkg/plugin/signals": nil,
		// The command line, and what a person sees; nothing that reads a project.
		"pkg/plugin/command": {
			semver, protocol, capability, module + "pkg/plugin", "github.com/spf13/cobra", "github.com/spf13/pflag",
			module + "internal/cli/term", module + "internal/cli/plain", module + "internal/cli/cachedir", module + "internal/cli/owner", module + "internal/cli/process", module + "pkg/plugin/signals",
			"golang.org/x/term", "golang.org/x/sys/unix",
		},
		"pkg/plugin/plugintest": {semver, protocol, module + "pkg/plugin/signals", module + "internal/plugins/conformance", module + "internal/cli/process"},
		"pkg/appkit":            {semver, protocol, module + "internal/cli/plain"},
	}
	for folder, names := range allowed {
		names = append(names, module+folder, "vendor/golang.org/x/net/dns/dnsmessage")
		for _, dependency := range imports(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./"+folder) {
			if !slices.Contains(names, dependency) {
				t.Errorf("%s imports %s", folder, dependency)
			}
		}
	}
}

// Adapters know neither each other nor the stage that uses them; only main
// knows both.
func TestAdaptersStandAlone(t *testing.T) {
	adapters := []string{
		"internal/build/auto", "internal/build/buildkit", "internal/build/daemonless", "internal/build/docker", "internal/publish/oci", "internal/publish/none", "internal/publish/nodeimport", "internal/deploy/helm", "internal/deploy/fan", "internal/deploy/argocd", "internal/deploy/flux", "internal/monitor/none", "internal/monitor/prometheusoperator", "internal/deploy/edge",
	}
	for _, adapter := range adapters {
		for _, dependency := range imports(t, "-f", `{{join .Imports "\n"}}`, "./"+adapter) {
			other := strings.TrimPrefix(dependency, module)
			if other != adapter && slices.Contains(adapters, other) {
				t.Errorf("%s imports the adapter %s", adapter, other)
			}
			if other == "pkg/plugin" || strings.HasPrefix(other, "cmd/") || strings.HasPrefix(other, "pkg/plugin/") {
				t.Errorf("%s imports its stage, %s", adapter, other)
			}
		}
	}
}

// One way leads to registries: the options of internal/registry/auth guard
// against plain http and against servers that stop answering.
func TestOneWayToRegistries(t *testing.T) {
	own := map[string]string{ // ways around the options, and who may take them
		"remote.WithTransport": "auth", "remote.WithAuthFromKeychain": "auth", "remote.WithAuth": "auth", "remote.WithUserAgent": "auth", "remote.DefaultTransport": "auth",
		"transport.New": "auth", "transport.NewWithContext": "auth",
	}
	without := []string{"remote.With", "remote.Backoff", "remote.Descriptor", "remote.Taggable", "remote.Option", "remote.Puller", "remote.Pusher", "remote.Default", "remote.Reuse"}
	calls := 0
	for _, file := range sources(t, "cmd", "pkg", "internal") {
		if strings.Contains(file.name, "deploytest") || strings.Contains(file.name, "clustertest") || strings.Contains(file.name, "devicestest") {
			continue // test kits push to registries of their own
		}
		guarded := map[ast.Node]bool{}
		ast.Inspect(file.tree, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && call.Ellipsis.IsValid() && len(call.Args) > 0 {
				if options, ok := call.Args[len(call.Args)-1].(*ast.CallExpr); ok && slices.Contains([]string{"auth.Options", "auth.Through", "download.Registry"}, selector(options.Fun)) {
					guarded[call.Fun] = true
				}
			}
			if call, ok := n.(*ast.CallExpr); ok && slices.ContainsFunc(call.Args, reuses) {
				guarded[call.Fun] = true
			}
			name := ""
			if e, ok := n.(ast.Expr); ok {
				name = selector(e)
			}
			room := filepath.Base(filepath.Dir(file.name))
			switch {
			case own[name] != "" && room != own[name], strings.HasPrefix(name, "remote.") && own[name] == "" && !guarded[n] &&
				!slices.ContainsFunc(without, func(prefix string) bool { return strings.HasPrefix(name, prefix) }):
				t.Errorf("%s calls %s without auth.Options", file.name, name)
			}
			return true
		})
		calls += len(guarded)
	}
	if calls == 0 {
		t.Error("no guarded call was found: this test looks for the wrong thing")
	}
}

// reuses reports the option by which a call goes the way of a puller or a pusher, which
// was made with the options.
func reuses(argument ast.Expr) bool {
	call, ok := argument.(*ast.CallExpr)
	return ok && selector(call.Fun) == "remote.Reuse"
}

// selector is an expression package.Name as text, else "".
func selector(e ast.Expr) string {
	if s, ok := e.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); ok {
			return x.Name + "." + s.Sel.Name
		}
	}
	return ""
}

type source struct {
	name string
	tree *ast.File
}

// sources parses the files in folders that are not tests.
func sources(t *testing.T, folders ...string) (files []source) {
	t.Helper()
	set := token.NewFileSet()
	for _, folder := range folders {
		err := filepath.WalkDir("../"+folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "testdata") {
				return err
			}
			tree, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			files = append(files, source{path, tree})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}
