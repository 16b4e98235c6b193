package build_test

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/daemonless"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// write makes files in a folder: with ! at the end of the name executable, a
// content -> target is a symbolic link.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, strings.TrimSuffix(name, "!"))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := fs.FileMode(0o644)
		if strings.HasSuffix(name, "!") {
			mode = 0o755
		}
		var err error
		if target, isLink := strings.CutPrefix(content, "-> "); isLink {
			err = os.Symlink(target, path)
		} else {
			err = os.WriteFile(path, []byte(content), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// demo is an app whose Dockerfile copies all of its context.
func demo(t testing.TB) protocol.AppSpec {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"Dockerfile": "ARG BASE=scratch\nFROM $BASE\nARG WHO\nCOPY . /srv\n", ".dockerignore": "*.log\n",
		"a": "A", "d/run!": "R", "d/link": "-> run", "x.log": "ignored",
	})
	return protocol.AppSpec{
		Metadata: protocol.Metadata{Name: "demo", Version: "1.0.0"}, ProjectRoot: dir,
		Image: protocol.ImageSource{Repository: "fleet/demo", Platforms: []string{"linux/amd64"}, Dockerfile: &protocol.Dockerfile{}},
	}
}

// stage is one run of harmony build.
type stage struct {
	env   capability.Environment
	flags build.Flags

	mu     sync.Mutex
	events []protocol.Event
}

func newStage(t testing.TB) *stage {
	t.Helper()
	s := &stage{}
	s.env = capability.Environment{Cache: t.TempDir(), Progress: func(e protocol.Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, e)
	}}
	return s
}

// registry has the images published at a URL.
func (s *stage) registry(url string) *stage {
	s.env.Topology.OCIRegistry = &protocol.Provider{Adapter: "oci", URL: url}
	return s
}

// said are the messages of a phase in the last run.
func (s *stage) said(phase string) []string {
	var messages []string
	for _, e := range s.events {
		if e.Phase == phase {
			messages = append(messages, e.Message)
		}
	}
	return messages
}

func (s *stage) build(ctx context.Context, adapter capability.Adapter[capability.ContainerBuilder], app protocol.AppSpec) (protocol.ImageRef, error) {
	s.events = nil
	b, err := adapter(ctx, s.env)
	if err != nil {
		return protocol.ImageRef{}, err
	}
	return b.BuildImage(ctx, app)
}

// daemonless builds with the adapter of that name.
func (s *stage) daemonless(t testing.TB, app protocol.AppSpec) protocol.ImageRef {
	t.Helper()
	ref, err := s.build(t.Context(), daemonless.New(&s.flags), app)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// plan is the input of an app without building it.
func plan(t testing.TB, app protocol.AppSpec) string {
	t.Helper()
	return planOn(t, newStage(t), app, &builds{})
}

func planOn(t testing.TB, s *stage, app protocol.AppSpec, b *builds) string {
	t.Helper()
	s.env.DryRun = true
	ref, err := s.build(t.Context(), b.adapter(&s.flags), app)
	if err != nil {
		t.Fatal(err)
	}
	return ref.InputDigest
}

// builds is a backend that takes any Dockerfile, makes nothing, and keeps what it
// was asked for.
type builds struct {
	options  map[string]string
	requests []build.Request
	during   func()
}

func (b *builds) adapter(flags *build.Flags) capability.Adapter[capability.ContainerBuilder] {
	return func(_ context.Context, env capability.Environment) (capability.ContainerBuilder, error) {
		return build.New(env, flags, b)
	}
}

func (b *builds) Options() map[string]string                 { return b.options }
func (b *builds) Check(context.Context, build.Request) error { return nil }

func (b *builds) Find(context.Context, build.Request) (protocol.ImageRef, bool, error) {
	return protocol.ImageRef{}, false, nil
}

func (b *builds) Build(_ context.Context, r build.Request, ref protocol.ImageRef) (protocol.ImageRef, error) {
	b.requests = append(b.requests, r)
	if b.during != nil {
		b.during()
	}
	ref.Location = protocol.InDaemon
	return ref, nil
}

// filesBelow are the files of a folder with their contents.
func filesBelow(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func inOrder[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
