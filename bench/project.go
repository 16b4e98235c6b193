package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// project is a copy of examples/fleet with its own git history and namespaces.
type project struct {
	name   string // starts the names of its namespaces
	folder string
	edits  int
	// stamp makes each edit one that no earlier run has compiled.
	stamp int64
}

// newProject copies examples/fleet into the run's folder and commits it.
func newProject(ctx context.Context, b *bench, name string) (*project, error) {
	p := &project{name: name, folder: b.path(name), stamp: time.Now().UnixNano()}
	if err := os.RemoveAll(p.folder); err != nil {
		return nil, err
	}
	if err := os.CopyFS(p.folder, os.DirFS("examples/fleet")); err != nil {
		return nil, err
	}
	dockerfile, err := os.ReadFile("bench/Dockerfile")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(p.folder, "Dockerfile"), dockerfile, 0o644); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"init", "--quiet"},
		{"add", "--all"},
		{"-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "--quiet", "--message=start"},
	} {
		if err := (command{name: "git", argv: append([]string{"git"}, args...), dir: p.folder}).run(ctx); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *project) staging() string    { return p.name + "-staging" }
func (p *project) production() string { return p.name + "-production" }

// edit changes an answer of fleet-callout to a text that was never there.
func (p *project) edit() error {
	const file, anchor = "cmd/callout/handler.go", `"device and token are both needed`
	path := filepath.Join(p.folder, file)
	source, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(source), anchor)
	_, after, closed := strings.Cut(rest, `"`)
	if !found || !closed {
		return fmt.Errorf("examples/fleet/%s has no text %s to change", file, anchor)
	}
	p.edits++
	changed := fmt.Sprintf(`%s%s (%d.%d)"%s`, before, anchor, p.stamp, p.edits, after)
	return os.WriteFile(path, []byte(changed), 0o644)
}

// release is harmony's way.
func (p *project) release(args ...string) command {
	argv := append([]string{"harmony", "release", "--topology=local"}, args...)
	return command{name: "harmony release", argv: argv, dir: p.folder}
}

// peer is the way without harmony, for apps (without their prefix fleet-) and
// namespaces, each a list with spaces.
func (p *project) peer(docker, apps, namespaces string) (command, error) {
	script, err := filepath.Abs("bench/peer.sh")
	return command{
		name: "docker and helm", dir: p.folder,
		argv: []string{script, apps, namespaces},
		env:  []string{"DOCKER=" + docker, "DOCKER_BUILDKIT=1"},
	}, err
}

// findDocker is the client of Debian's docker.io, else the first on PATH, if
// its daemon answers.
func findDocker(ctx context.Context) (string, error) {
	docker := "/usr/bin/docker"
	if _, err := os.Stat(docker); errors.Is(err, fs.ErrNotExist) {
		if docker, err = exec.LookPath("docker"); err != nil {
			return "", err
		}
	}
	if _, err := output(ctx, docker, "version", "--format", "{{.Server.Version}}"); err != nil {
		return "", err
	}
	return docker, nil
}

// deleteNamespaces removes what the projects deployed, and waits for it.
func deleteNamespaces(ctx context.Context, projects ...*project) error {
	argv := []string{"kubectl", "delete", "namespace", "--ignore-not-found", "--timeout=2m"}
	for _, p := range projects {
		argv = append(argv, p.staging(), p.production())
	}
	return command{name: "clean up", argv: argv}.run(ctx)
}
