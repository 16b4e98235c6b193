package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// manyApps is how many apps the repository has, which share some packages.
const (
	manyApps     = 100
	manyPackages = 10
)

// monorepo measures what is done for many apps at once.
func monorepo(ctx context.Context, b *bench) ([]row, error) {
	t := &builders{bench: b, registry: fmt.Sprintf("%s/bench-%d", os.Getenv("HARMONY_REGISTRY"), time.Now().UnixNano())}
	p := &project{name: "bench-monorepo", folder: b.path("monorepo")}
	if err := p.writeMany(t.registry); err != nil {
		return nil, err
	}
	if err := p.git(ctx, "init", "--quiet"); err != nil {
		return nil, err
	}
	if err := p.commitMany(ctx, "start", "README.md"); err != nil {
		return nil, err
	}
	rows, err := p.nothingChanged(ctx, t)
	if err != nil {
		return nil, err
	}
	for _, m := range []struct{ what, file string }{
		{"affected, 100 apps: a commit of a text", "NOTES.md"},
		{"affected, 100 apps: a shared package changed", "pkg/shared3/more.go"},
	} {
		if err := p.commitMany(ctx, m.what, m.file); err != nil {
			return rows, err
		}
		affected := command{name: "harmony affected", argv: []string{"harmony", "affected", "--since=HEAD~"}, dir: p.folder, env: t.caches(p)}
		times, err := interleave(ctx, b.rounds(5), affected)
		if err != nil {
			return rows, err
		}
		rows = append(rows, row{what: m.what, times: times[0]})
	}
	return rows, nil
}

// nothingChanged measures what finds all images made already.
func (p *project) nothingChanged(ctx context.Context, t *builders) ([]row, error) {
	run := func(args ...string) command {
		return command{
			name: "harmony", argv: append(append([]string{"harmony"}, args...), "--all", "--topology=bench"), dir: p.folder,
			env: append(t.caches(p), "HARMONY_REGISTRY="+t.registry),
		}
	}
	built, err := interleave(ctx, t.bench.rounds(5), run("build"))
	if err != nil {
		return nil, err
	}
	released, err := interleave(ctx, t.bench.rounds(5), run("release", "--version=1.0.0"))
	if err != nil {
		return nil, err
	}
	return []row{
		{what: "build, 100 apps: nothing changed", times: built[0]},
		{what: "build and publish, 100 apps: nothing changed", times: released[0]},
	}, nil
}

func (p *project) git(ctx context.Context, args ...string) error {
	return command{name: "git", argv: append([]string{"git", "-c", "user.name=bench", "-c", "user.email=bench@localhost"}, args...), dir: p.folder}.run(ctx)
}

// commitMany commits a change of a file.
func (p *project) commitMany(ctx context.Context, message, file string) error {
	text := "package " + filepath.Base(filepath.Dir(file)) + "\n\n// " + message + "\n"
	if err := p.write(file, text); err != nil {
		return err
	}
	if err := p.git(ctx, "add", "--all"); err != nil {
		return err
	}
	return p.git(ctx, "commit", "--quiet", "--message="+message)
}

func (p *project) write(name, text string) error {
	path := filepath.Join(p.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// writeMany writes the repository: each app imports three of the shared packages.
func (p *project) writeMany(registry string) error {
	var specs strings.Builder
	files := map[string]string{"go.mod": "module example.com/many\n\ngo 1.24\n"}
	for i := range manyPackages {
		files[fmt.Sprintf("pkg/shared%d/shared.go", i)] = fmt.Sprintf("package shared%d\n\nconst Name = \"shared %[1]d\"\n", i)
	}
	for i := range manyApps {
		var imports, uses string
		for j := range 3 {
			name := fmt.Sprintf("shared%d", (i+j)%manyPackages)
			imports += fmt.Sprintf("import %q\n", "example.com/many/pkg/"+name)
			uses += "\tprintln(" + name + ".Name)\n"
		}
		files[fmt.Sprintf("cmd/app%d/main.go", i)] = "package main\n\n" + imports + "\nfunc main() {\n" + uses + "}\n"
		fmt.Fprintf(&specs, `---
apiVersion: harmony.nationtech.io/v1
kind: AppSpec
metadata: {name: app%d}
spec:
  image: {repository: many/app%[1]d, buildable: {type: go, main: ./cmd/app%[1]d}}
  chart: {workload: {ports: [{name: http, port: 8080}]}}
`, i)
	}
	fmt.Fprintf(&specs, `---
apiVersion: harmony.nationtech.io/v1
kind: Pipeline
metadata: {name: default}
spec:
  pipeline: [release]
---
apiVersion: harmony.nationtech.io/v1
kind: Topology
metadata: {name: bench}
spec:
  containerBuilder: {adapter: daemonless}
  ociRegistry: {adapter: oci, url: %[1]s}
  helmRegistry: {adapter: oci, url: %[1]s}
`, registry)
	files["harmony.yaml"] = specs.String()
	for name, text := range files {
		if err := p.write(name, text); err != nil {
			return err
		}
	}
	return nil
}
