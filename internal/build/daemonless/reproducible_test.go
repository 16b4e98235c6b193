package daemonless

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

const fixedDockerfile = "FROM scratch\nARG WHO=nobody\nENV A=1\nCOPY --chown=7 d /srv/d\nWORKDIR /srv\nCOPY run /bin/\nLABEL who=$WHO\nENTRYPOINT [\"/bin/run\"]\n"

var fixedFiles = map[string]string{"d/a": "A", "d/b/c": "C", "d/l": "-> a", "run!": "#!/bin/true\n"}

// goldenDigest is the digest of that image, on any machine. When it changes the
// constant format has to change as well, so that old layouts are not used.
const goldenDigest = "sha256:b70e3f5260c18607615c6dcc8fc8301f663893b944a55c48ac29460b91321370"

func TestGoldenDigest(t *testing.T) {
	ref, _ := mustBuild(t, newBuilder(t), project(t, fixedDockerfile, fixedFiles))
	if ref.Digest != goldenDigest {
		t.Errorf("digest %s, want %s", ref.Digest, goldenDigest)
	}
}

func TestSameDigestElsewhere(t *testing.T) {
	first, _ := mustBuild(t, newBuilder(t), project(t, fixedDockerfile, fixedFiles))
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	app := project(t, fixedDockerfile, fixedFiles)
	when := time.Date(2001, 2, 3, 4, 5, 6, 7, time.UTC)
	err := filepath.WalkDir(app.ProjectRoot, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.Type() == os.ModeSymlink {
			return err
		}
		mode := os.FileMode(0o755) // as a checkout gives it
		if !d.IsDir() && d.Name() != "run" {
			mode = 0o644
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
		return os.Chtimes(path, when, when)
	})
	if err != nil {
		t.Fatal(err)
	}
	second, _ := mustBuild(t, newBuilder(t), app)
	if first.Digest != second.Digest || first.InputDigest != second.InputDigest {
		t.Errorf("digests %s and %s, of inputs %s and %s", first.Digest, second.Digest, first.InputDigest, second.InputDigest)
	}
}

func TestUnchangedAndPlanned(t *testing.T) {
	app := project(t, fixedDockerfile, fixedFiles)
	cache := t.TempDir()
	dry, err := New(nil)(t.Context(), capability.Environment{Cache: cache, DryRun: true, Progress: func(protocol.Event) {}})
	if err != nil {
		t.Fatal(err)
	}
	planned, err := dry.BuildImage(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	if !planned.Planned || planned.Unchanged || planned.Digest != "" || planned.InputDigest == "" {
		t.Errorf("dry run before the build: %+v", planned)
	}
	if left := leftOver(t, cache); len(left) > 0 {
		t.Errorf("the dry run made %v", left)
	}
	made, _ := mustBuild(t, newBuilderAt(t, cache), app)
	if made.Unchanged || made.Planned || made.InputDigest != planned.InputDigest {
		t.Errorf("build: %+v", made)
	}
	again, _ := mustBuild(t, newBuilderAt(t, cache), app)
	if !again.Unchanged || again.Digest != made.Digest || again.Path != made.Path {
		t.Errorf("second build: %+v, first %+v", again, made)
	}
	planned, err = dry.BuildImage(t.Context(), app)
	if err != nil || !planned.Planned || !planned.Unchanged || planned.Digest != made.Digest {
		t.Errorf("dry run after the build: %+v, %v", planned, err)
	}
}

// TestEveryInputCounts changes one thing after the other.
func TestEveryInputCounts(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, fixedFiles)
	write(t, dir, map[string]string{"Dockerfile": fixedDockerfile})
	app := appAt(dir)
	b := newBuilder(t)
	digests := map[string]string{}
	for _, change := range []struct {
		name  string
		apply func() error
	}{
		{"nothing", func() error { return nil }},
		{"content", func() error { return os.WriteFile(filepath.Join(dir, "d/a"), []byte("B"), 0o644) }},
		{"executable", func() error { return os.Chmod(filepath.Join(dir, "d/a"), 0o755) }},
		{"a file", func() error { return os.WriteFile(filepath.Join(dir, "d/new"), nil, 0o644) }},
		{"an empty folder", func() error { return os.Mkdir(filepath.Join(dir, "d/empty"), 0o755) }},
		{"a file's name", func() error { return os.Rename(filepath.Join(dir, "d/new"), filepath.Join(dir, "d/newer")) }},
		{"a link", func() error {
			return errors.Join(os.Remove(filepath.Join(dir, "d/l")), os.Symlink("b", filepath.Join(dir, "d/l")))
		}},
		{"an argument", func() error { app.Image.Dockerfile.Args = map[string]string{"WHO": "me"}; return nil }},
		{"the platform", func() error { app.Image.Platforms = []string{"linux/arm64"}; return nil }},
		{"an ignore file", func() error { return os.WriteFile(filepath.Join(dir, ".dockerignore"), []byte("d/newer"), 0o644) }},
		{"an instruction", func() error {
			return os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(strings.Replace(fixedDockerfile, "A=1", "A=2", 1)), 0o644)
		}},
		{"how an instruction is written", func() error {
			return os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(strings.Replace(fixedDockerfile, "COPY run", "COPY  run", 1)), 0o644)
		}},
		{"the time", func() error {
			t.Setenv("SOURCE_DATE_EPOCH", "1")
			b = newBuilderAt(t, b.cache)
			return nil
		}},
	} {
		if err := change.apply(); err != nil {
			t.Fatal(err)
		}
		ref, err := b.BuildImage(t.Context(), app)
		if err != nil {
			t.Fatal(err)
		}
		if earlier, ok := digests[ref.Digest]; ok || ref.Unchanged {
			t.Errorf("%s changed, but the image is that of %s (unchanged: %t)", change.name, earlier, ref.Unchanged)
		}
		digests[ref.Digest] = change.name
	}
	if err := os.WriteFile(filepath.Join(dir, "not-copied"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if ref, err := b.BuildImage(t.Context(), app); err != nil || digests[ref.Digest] != "the time" {
		t.Errorf("a file that is not copied: %+v, %v", ref, err)
	}
}

func TestSourceDateEpoch(t *testing.T) {
	for value, want := range map[string]string{"": "1970-01-01", "1700000000": "2023-11-14"} {
		t.Setenv("SOURCE_DATE_EPOCH", value)
		ref, err := newBuilder(t).BuildImage(t.Context(), project(t, "FROM scratch\nWORKDIR /x", nil))
		if err != nil {
			t.Fatal(err)
		}
		file, err := imageOf(t, ref).ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if got := file.Created.UTC().Format(time.DateOnly); got != want {
			t.Errorf("SOURCE_DATE_EPOCH=%s: created %s, want %s", value, got, want)
		}
	}
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	_, err := New(nil)(t.Context(), capability.Environment{})
	if protocol.ExitCode(err) != protocol.ExitInvalid {
		t.Errorf("error %v", err)
	}
}

// TestChangeDuringBuildIsNotKept changes a file each time that packing begins.
func TestChangeDuringBuildIsNotKept(t *testing.T) {
	for name, changes := range map[string]int{"once": 1, "again and again": 1000} {
		t.Run(name, func(t *testing.T) {
			app, cache, done := project(t, fixedDockerfile, fixedFiles), t.TempDir(), 0
			b, err := New(nil)(t.Context(), capability.Environment{Cache: cache, Progress: func(e protocol.Event) {
				if e.Phase == "pack" && done < changes {
					done++
					write(t, app.ProjectRoot, map[string]string{"d/a": strings.Repeat("changed", done)})
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			ref, err := b.BuildImage(t.Context(), app)
			if changes == 1 {
				if err != nil || !strings.Contains(list(t, imageOf(t, ref)), "srv/d/a changed") || len(leftOver(t, cache)) != 1 {
					t.Errorf("%+v, %v, left %v", ref, err, leftOver(t, cache))
				}
				return
			}
			if protocol.ExitCode(err) != protocol.ExitRetryable || !strings.Contains(err.Error(), "sources changed during the build, 3 times") {
				t.Errorf("status %d, error %v", protocol.ExitCode(err), err)
			}
			if left := leftOver(t, cache); len(left) > 0 {
				t.Errorf("kept %v", left)
			}
		})
	}
}

func TestAtTheSameTime(t *testing.T) {
	app := project(t, fixedDockerfile, fixedFiles)
	cache := t.TempDir()
	refs := make([]protocol.ImageRef, 8)
	var group sync.WaitGroup
	for i := range refs {
		b := newBuilderAt(t, cache)
		group.Go(func() {
			var err error
			if refs[i], err = b.BuildImage(t.Context(), app); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, ref := range refs {
		if ref.Digest != refs[0].Digest {
			t.Errorf("digest %s, another run has %s", ref.Digest, refs[0].Digest)
		}
		imageOf(t, ref)
	}
	if left := leftOver(t, cache); len(left) != 1 {
		t.Errorf("in the cache: %v, want one layout", left)
	}
}

func TestCancelledBuildLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := newBuilder(t)
	_, err := b.BuildImage(ctx, project(t, fixedDockerfile, fixedFiles))
	if !errors.Is(err, context.Canceled) || protocol.ExitCode(err) != protocol.ExitInterrupted {
		t.Errorf("status %d, error %v", protocol.ExitCode(err), err)
	}
	if left := leftOver(t, b.cache); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestSpecialFilesAreRefused(t *testing.T) {
	app := project(t, "FROM scratch\nCOPY d /d", map[string]string{"d/a": "A"})
	if err := syscall.Mkfifo(filepath.Join(app.ProjectRoot, "d", "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := newBuilder(t).BuildImage(t.Context(), app)
	if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "d/pipe is neither a file") {
		t.Errorf("error %v", err)
	}
}

func TestMissingPieces(t *testing.T) {
	for name, test := range map[string]struct {
		dockerfile protocol.Dockerfile
		want       string
	}{
		"context":    {protocol.Dockerfile{Context: "nope", Path: "Dockerfile"}, "nope does not exist"},
		"a file":     {protocol.Dockerfile{Context: "Dockerfile", Path: "Dockerfile"}, "/Dockerfile: "},
		"dockerfile": {protocol.Dockerfile{Path: "build/Dockerfile.prod"}, "build/Dockerfile.prod: no such file"},
		"folder":     {protocol.Dockerfile{Path: "d"}, "d: not a regular file"},
		"target":     {protocol.Dockerfile{Target: "prod"}, `no stage is called "prod"`},
	} {
		t.Run(name, func(t *testing.T) {
			app := project(t, "FROM scratch AS one\nCOPY d /", map[string]string{"d/a": "A"})
			app.Image.Dockerfile = &test.dockerfile
			_, err := newBuilder(t).BuildImage(t.Context(), app)
			if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), test.want) {
				t.Errorf("status %d, error %v", protocol.ExitCode(err), err)
			}
		})
	}
}

// What stays on this machine is not compressed, unless the topology says so.
func TestCompression(t *testing.T) {
	for _, test := range []struct {
		registry *protocol.Provider
		setting  any
		stored   bool
		wrong    string
	}{
		{nil, nil, false, ""},
		{&protocol.Provider{Adapter: "oci", URL: "registry.example.com/fleet"}, nil, false, ""},
		{&protocol.Provider{Adapter: "oci", URL: "localhost:5001/fleet"}, nil, true, ""},
		{&protocol.Provider{Adapter: "node-import"}, nil, true, ""},
		{&protocol.Provider{Adapter: "node-import"}, "gzip", false, ""},
		{&protocol.Provider{Adapter: "oci", URL: "registry.example.com/fleet"}, "none", true, ""},
		{nil, "zip", false, "settings: compression must be one of gzip, none, not zip"},
		{nil, 7, false, "settings: compression must be one of gzip, none, not 7"},
	} {
		env := capability.Environment{Topology: protocol.Topology{OCIRegistry: test.registry}}
		if test.setting != nil {
			env.Provider.Settings = map[string]any{"compression": test.setting}
		}
		b, err := newBackend(env)
		if test.wrong != "" {
			if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), test.wrong) {
				t.Errorf("%+v: got %v", test, err)
			}
			continue
		}
		if err != nil || b.Store.Stored != test.stored {
			t.Errorf("%+v: stored %t, %v", test, b.Store.Stored, err)
		}
	}
}
