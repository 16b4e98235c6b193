package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
)

// goProgram measures a Go program of examples/fleet against ko, on its empty base
// image. Ours adds CA certificates; neither makes an SBOM.
func goProgram(ctx context.Context, t *builders) ([]row, error) {
	ours, err := newProject(ctx, t.bench, "bench-build")
	if err != nil {
		return nil, err
	}
	theirs, err := newProject(ctx, t.bench, "bench-ko")
	if err != nil {
		return nil, err
	}
	base, err := t.emptyBase(ctx)
	if err != nil {
		return nil, err
	}
	limit := budget{ratio: 1}
	var rows []row
	for _, m := range []struct {
		what   string
		rounds int
		limit  budget
		before func(p *project, caches string) error
	}{
		{"build go, cold: compiler's cache empty", 3, limit, func(_ *project, caches string) error { return os.RemoveAll(caches) }},
		{"build go: a text changed", 7, budget{}, func(p *project, _ string) error { return p.edit() }},
		{"build go: nothing changed", 20, limit, func(*project, string) error { return nil }},
	} {
		harmony, ko := t.harmonyGo(ours), t.ko(theirs, base)
		harmony.before = func(context.Context) error { return m.before(ours, t.bench.path("caches", ours.name)) }
		ko.before = func(context.Context) error { return m.before(theirs, t.bench.path("caches", theirs.name)) }
		more, err := t.compare(ctx, m.what, m.rounds, m.limit, harmony, ko)
		if err != nil {
			return rows, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// caches gives a project caches of its own: the compiler's and its builder's.
func (t *builders) caches(p *project) []string {
	folder := t.bench.path("caches", p.name)
	return []string{
		"GOCACHE=" + filepath.Join(folder, "go"), "KOCACHE=" + filepath.Join(folder, "ko"),
		"XDG_CACHE_HOME=" + filepath.Join(folder, "xdg"),
	}
}

func (t *builders) harmonyGo(p *project) command {
	argv := []string{"harmony", "build", "fleet-callout", "--topology=local"}
	return command{name: "harmony build", argv: argv, dir: p.folder, env: append(t.caches(p), "HARMONY_REGISTRY="+t.registry)}
}

func (t *builders) ko(p *project, base string) command {
	argv := []string{
		"ko", "build", "--push=false", "--sbom=none", "--oci-layout-path=" + filepath.Join(p.folder, "out", "image"),
		"--platform=linux/" + runtime.GOARCH, "./cmd/callout",
	}
	return command{name: "ko build", argv: argv, dir: p.folder, env: append(t.caches(p), "KO_DOCKER_REPO="+t.registry, "KO_DEFAULTBASEIMAGE="+base)}
}

// emptyBase pushes an image without files, for ko cannot do without a base.
func (t *builders) emptyBase(ctx context.Context) (string, error) {
	layer := t.bench.path("empty.tar")
	if err := os.WriteFile(layer, make([]byte, 1024), 0o644); err != nil {
		return "", err
	}
	base := t.registry + "/empty:1"
	layered := command{name: "crane append", argv: []string{"crane", "append", "--insecure", "--new_layer=" + layer, "--new_tag=" + base}}
	if err := layered.run(ctx); err != nil {
		return "", err
	}
	platform := command{name: "crane mutate", argv: []string{"crane", "mutate", "--insecure", "--set-platform=linux/" + runtime.GOARCH, "--tag=" + base, base}}
	return base, platform.run(ctx)
}
