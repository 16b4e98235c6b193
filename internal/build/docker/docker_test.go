package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/clustertest"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

func TestBuildImage(t *testing.T) {
	eachDaemon(t, func(t *testing.T, s server) {
		app := project(t, "ARG WHO\nRUN echo \"made for $WHO\" >/made\nCOPY src /src\nCMD [\"/made\"]\n", map[string]string{
			"src/kept": "kept", "src/left.log": "left", "src/sub/keep.log": "kept too", ".dockerignore": "**/*.log\n!src/sub/keep.log\n",
		})
		app.Image.Dockerfile.Args = map[string]string{"WHO": "harmony"}
		b := open(t, s, app, build.Flags{})
		first, err := b.BuildImage(t.Context(), app)
		if err != nil {
			t.Fatalf("%v\n%s", err, b.seen.text())
		}
		if first.Location != protocol.InDaemon || first.ID == "" || first.Digest != "" || first.Unchanged || first.Repository != app.Image.Repository || first.Tag != "1.4.0" || first.InputDigest == "" {
			t.Errorf("first is %+v", first)
		}
		files := b.files(t, first.ID)
		for name, want := range map[string]string{"made": "made for harmony\n", "src/kept": "kept", "src/sub/keep.log": "kept too"} {
			if files[name] != want {
				t.Errorf("%s holds %q, want %q", name, files[name], want)
			}
		}
		if _, there := files["src/left.log"]; there {
			t.Error("src/left.log is in the image")
		}
		if !strings.Contains(b.seen.text(), "RUN echo \"made for ") {
			t.Errorf("the step is not told: %q", b.seen.text())
		}
		again, err := open(t, s, app, build.Flags{}).BuildImage(t.Context(), app)
		if err != nil || !again.Unchanged || again.ID != first.ID || again.Location != protocol.InDaemon {
			t.Errorf("again: %+v, %v", again, err)
		}
		put(t, app.ProjectRoot, map[string]string{"src/left.log": "other"})
		if same, err := b.BuildImage(t.Context(), app); err != nil || !same.Unchanged {
			t.Errorf("an ignored file: %+v, %v", same, err)
		}
		put(t, app.ProjectRoot, map[string]string{"src/kept": "other"})
		changed, err := b.BuildImage(t.Context(), app)
		if err != nil || changed.Unchanged || changed.ID == first.ID || changed.InputDigest == first.InputDigest {
			t.Errorf("changed: %+v, %v", changed, err)
		}
		if names := b.named(t, app); len(names) != 2 {
			t.Errorf("the daemon has %v", names)
		}
	})
}

func TestDockerfileElsewhere(t *testing.T) {
	eachDaemon(t, func(t *testing.T, s server) {
		for what, ignore := range map[string]string{"no ignore file": "", "an ignore file": "secret\n", "ignores itself": "Dockerfile*\n.dockerignore\nsecret"} {
			app := project(t, "COPY . /all\n", map[string]string{"src/kept": "kept", "src/secret": "s", "src/Dockerfile": "not this one"})
			data, err := os.ReadFile(filepath.Join(app.ProjectRoot, "Dockerfile"))
			if err != nil {
				t.Fatal(err)
			}
			put(t, app.ProjectRoot, map[string]string{"build/app.Dockerfile": strings.Replace(string(data), "COPY busybox /bin/busybox", "", 1)})
			app.Image.Dockerfile = &protocol.Dockerfile{Path: "build/app.Dockerfile", Context: "src"}
			if ignore != "" {
				put(t, app.ProjectRoot, map[string]string{"src/.dockerignore": ignore})
			}
			b := open(t, s, app, build.Flags{})
			image, err := b.BuildImage(t.Context(), app)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			var names []string
			for name := range b.files(t, image.ID) {
				if name != "json" && name != "all" {
					names = append(names, name)
				}
			}
			slices.Sort(names)
			want := []string{"all/Dockerfile", "all/kept", "all/secret"}
			switch what {
			case "an ignore file":
				want = []string{"all/.dockerignore", "all/Dockerfile", "all/kept"}
			case "ignores itself":
				want = []string{"all/kept"}
			}
			if !slices.Equal(names, want) {
				t.Errorf("%s: the image has %q, want %q", what, names, want)
			}
		}
	})
}

func TestFailingRun(t *testing.T) {
	eachDaemon(t, func(t *testing.T, s server) {
		app := project(t, "RUN echo some words; i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo line $i; done; echo the last words; exit 7\n", nil)
		b := open(t, s, app, build.Flags{})
		_, err := b.BuildImage(t.Context(), app)
		if protocol.ExitCode(err) != protocol.ExitFailed {
			t.Fatalf("status %d, %v", protocol.ExitCode(err), err)
		}
		text := err.Error()
		for _, want := range []string{"Dockerfile:4: RUN echo some words", "\n  | line 50\n  | the last words", "7"} {
			if !strings.Contains(text, want) {
				t.Errorf("lacks %q: %s", want, text)
			}
		}
		if strings.Count(text, "| the last words") > 1 || strings.Contains(text, "line 2\n") {
			t.Errorf("tells too much: %s", text)
		}
		if names := b.named(t, app); len(names) != 0 {
			t.Errorf("the daemon has %v", names)
		}
	})
}

func TestCancel(t *testing.T) {
	eachDaemon(t, func(t *testing.T, s server) {
		marker := strconv.Itoa(1_000_000 + rand.IntN(1_000_000))
		app := project(t, "RUN echo begun; exec /bin/busybox sleep "+marker+"\n", nil)
		b := open(t, s, app, build.Flags{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		failed := make(chan error, 1)
		go func() {
			_, err := b.BuildImage(ctx, app)
			failed <- err
		}()
		waitFor(t, "the step to begin", 60*time.Second, func() bool { return sleeps(t, marker) != 0 })
		start := time.Now()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) || protocol.ExitCode(err) != protocol.ExitInterrupted {
			t.Errorf("status %d, %v", protocol.ExitCode(err), err)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("it took %s to end", took)
		}
		if s.kind == "podman" { // which ends a build only after the step that runs
			if id := sleeps(t, marker); id != 0 {
				if err := syscall.Kill(id, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
		}
		waitFor(t, "the step to end", 2*time.Second, func() bool { return sleeps(t, marker) == 0 })
		if names := b.named(t, app); len(names) != 0 {
			t.Errorf("the daemon has %v", names)
		}
	})
}

func waitFor(t *testing.T, what string, limit time.Duration, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", limit, what)
		}
	}
}

// sleeps is the id of the process of TestCancel, or 0.
func sleeps(t *testing.T, marker string) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil && strings.HasSuffix(string(data), "\x00sleep\x00"+marker+"\x00") {
			id, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				t.Fatal(err)
			}
			return id
		}
	}
	return 0
}

func TestHostileContext(t *testing.T) {
	eachDaemon(t, func(t *testing.T, s server) {
		for what, spoil := range map[string]func(dir string) error{
			"named pipe":         func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600) },
			"control characters": func(dir string) error { return os.WriteFile(filepath.Join(dir, "a\nb"), nil, 0o600) },
		} {
			app := project(t, "COPY . /all\n", nil)
			if err := spoil(app.ProjectRoot); err != nil {
				t.Fatal(err)
			}
			_, err := open(t, s, app, build.Flags{}).BuildImage(t.Context(), app)
			if err == nil || protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), what) {
				t.Errorf("%s: status %d, %v", what, protocol.ExitCode(err), err)
			}
		}
		// A link out of the context stays a link.
		app := project(t, "COPY . /all\n", nil)
		if err := os.Symlink("/etc/passwd", filepath.Join(app.ProjectRoot, "link")); err != nil {
			t.Fatal(err)
		}
		b := open(t, s, app, build.Flags{})
		image, err := b.BuildImage(t.Context(), app)
		if err != nil {
			t.Fatal(err)
		}
		if content, there := b.files(t, image.ID)["all/link"]; !there || content != "" {
			t.Errorf("the link holds %q, %t", content, there)
		}
	})
}

func TestRefuses(t *testing.T) {
	app := project(t, "RUN --mount=type=secret,id=token true\n", nil)
	t.Setenv("DOCKER_HOST", "unix:///nowhere.sock")
	env := capability.Environment{Progress: func(protocol.Event) {}, Cache: t.TempDir()}
	b, err := New(nil)(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.BuildImage(t.Context(), app); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "unix:///nowhere.sock of DOCKER_HOST: no such socket") {
		t.Errorf("no daemon: status %d, %v", protocol.ExitCode(err), err)
	}
	several := app
	several.Image.Platforms = []string{"linux/amd64", "linux/arm64"}
	if _, err := b.BuildImage(t.Context(), several); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "one platform") {
		t.Errorf("platforms: status %d, %v", protocol.ExitCode(err), err)
	}
	env.Provider.Settings = map[string]any{"host": "x"}
	if _, err := New(nil)(t.Context(), env); protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "settings.host") {
		t.Errorf("settings: %v", err)
	}
	env.Provider.Settings, env.DryRun = nil, true
	if b, err = New(nil)(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if planned, err := b.BuildImage(t.Context(), project(t, "RUN true\n", nil)); err != nil || !planned.Planned || planned.ID != "" {
		t.Errorf("dry run: %+v, %v", planned, err)
	}
}

// What only BuildKit can do is refused before anything is sent.
func TestClassicRefuses(t *testing.T) {
	for _, kind := range []func(*testing.T) string{classicDaemon, podman} {
		for what, ask := range map[string]func(*protocol.Dockerfile){
			"secrets":        func(d *protocol.Dockerfile) { d.Secrets = map[string]string{"token": "env:TOKEN"} },
			"ssh":            func(d *protocol.Dockerfile) { d.SSH = map[string]string{"default": "env:SSH_AUTH_SOCK"} },
			"named contexts": func(d *protocol.Dockerfile) { d.Contexts = map[string]string{"other": "src"} },
		} {
			app := project(t, "RUN true\n", map[string]string{"src/a": ""})
			t.Setenv("TOKEN", "geheim")
			t.Setenv("SSH_AUTH_SOCK", filepath.Join(t.TempDir(), "agent"))
			ask(app.Image.Dockerfile)
			b := open(t, server{kind(t), "classic"}, app, build.Flags{})
			if _, err := b.BuildImage(t.Context(), app); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), what) {
				t.Errorf("%s: status %d, %v", what, protocol.ExitCode(err), err)
			}
		}
	}
	app := project(t, "RUN --mount=type=cache,target=/cache true\n", nil)
	b := open(t, server{classicDaemon(t), "classic"}, app, build.Flags{})
	if _, err := b.BuildImage(t.Context(), app); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "requires BuildKit") {
		t.Errorf("a mount: status %d, %v", protocol.ExitCode(err), err)
	}
}

// The BuildKit of Docker 20.10 would pass over named contexts.
func TestOldBuildKitRefusesNamedContexts(t *testing.T) {
	app := project(t, "LABEL a=b\n", map[string]string{"src/a": ""})
	app.Image.Dockerfile.Contexts = map[string]string{"other": "src"}
	b := open(t, server{clustertest.Docker(t), "buildkit"}, app, build.Flags{})
	if _, err := b.BuildImage(t.Context(), app); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "named contexts") {
		t.Errorf("status %d, %v", protocol.ExitCode(err), err)
	}
}

func TestPrune(t *testing.T) {
	app := project(t, "LABEL a=b\n", nil)
	s := server{classicDaemon(t), "classic"}
	b := open(t, s, app, build.Flags{})
	image, err := b.BuildImage(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	repository := "harmony/" + app.Image.Repository
	for _, tag := range []string{"a", "b", "c", "d", "e", "f"} {
		if err := b.daemon.Tag(t.Context(), image.ID, repository+":"+tag); err != nil {
			t.Fatal(err)
		}
	}
	if err := prune(t.Context(), b.daemon, repository); err != nil {
		t.Fatal(err)
	}
	if names := b.named(t, app); len(names) != 7 {
		t.Errorf("new names are gone, there are %v", names)
	}
	var old []named
	for i := range 7 {
		old = append(old, named{string(rune('a' + i)), time.Now().Add(-time.Duration(i) * 6 * time.Hour)})
	}
	if got := outdated(old, time.Now()); len(got) != 2 || got[0].name != "f" || got[1].name != "g" {
		t.Errorf("outdated are %v", got)
	}
}

// An image of sources that changed meanwhile never gets the name of an input.
func TestSourcesChange(t *testing.T) {
	eachDaemon(t, func(t *testing.T, s server) {
		app := project(t, "COPY file /file\nRUN true\n", map[string]string{"file": "old"})
		b := open(t, s, app, build.Flags{})
		var once sync.Once
		env := capability.Environment{Cache: t.TempDir(), Progress: func(e protocol.Event) {
			if strings.Contains(e.Message, "RUN true") {
				once.Do(func() { put(t, app.ProjectRoot, map[string]string{"file": "new"}) })
			}
		}}
		builder, err := New(nil)(t.Context(), env)
		if err != nil {
			t.Fatal(err)
		}
		image, err := builder.BuildImage(t.Context(), app)
		if err != nil {
			t.Fatal(err)
		}
		if content := b.files(t, image.ID)["file"]; content != "new" {
			t.Errorf("file holds %q", content)
		}
		if names := b.named(t, app); len(names) != 1 {
			t.Errorf("the daemon has %v", names)
		}
	})
}

// Secrets are read when the step asks for them, and are nowhere afterwards.
func TestSecrets(t *testing.T) {
	app := project(t, `RUN --mount=type=secret,id=token --mount=type=secret,id=other /bin/busybox sha256sum /run/secrets/token /run/secrets/other >/sums; echo used
`, map[string]string{"other.txt": "streng geheim"})
	app.Image.Dockerfile.Secrets = map[string]string{"token": "env:HARMONY_TEST_TOKEN", "other": "file:other.txt"}
	put(t, app.ProjectRoot, map[string]string{".dockerignore": "other.txt\n"})
	t.Setenv("HARMONY_TEST_TOKEN", "sehr geheim")
	b := open(t, server{clustertest.Docker(t), "buildkit"}, app, build.Flags{})
	image, err := b.BuildImage(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	files := b.files(t, image.ID)
	for _, want := range []string{"sehr geheim", "streng geheim"} {
		sum := sha256.Sum256([]byte(want))
		if !strings.Contains(files["sums"], hex.EncodeToString(sum[:])) {
			t.Errorf("the step did not see %q: %s", want, files["sums"])
		}
	}
	for _, value := range []string{"sehr geheim", "streng geheim"} {
		if strings.Contains(b.seen.text(), value) {
			t.Errorf("the output holds %q", value)
		}
		for name, content := range files {
			if strings.Contains(content, value) {
				t.Errorf("%s of the image holds %q", name, value)
			}
		}
	}
	t.Setenv("HARMONY_TEST_TOKEN", "a rotated one")
	if again, err := b.BuildImage(t.Context(), app); err != nil || !again.Unchanged {
		t.Errorf("another secret: %+v, %v", again, err)
	}
}

// A base image of the daemon alone is taken from there, and a new one under the
// same name is noticed.
func TestBaseOfTheDaemon(t *testing.T) {
	eachDaemon(t, func(t *testing.T, s server) {
		base := project(t, "RUN echo one >/base\n", nil)
		b := open(t, s, base, build.Flags{})
		name := "harmony/" + base.Image.Repository + ":base"
		make := func() {
			image, err := b.BuildImage(t.Context(), base)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.daemon.Tag(t.Context(), image.ID, name); err != nil {
				t.Fatal(err)
			}
		}
		make()
		app := project(t, "", nil)
		put(t, app.ProjectRoot, map[string]string{"Dockerfile": "FROM " + name + "\nLABEL a=b\n"})
		of := open(t, s, app, build.Flags{})
		first, err := of.BuildImage(t.Context(), app)
		if err != nil {
			t.Fatal(err)
		}
		if content := of.files(t, first.ID)["base"]; content != "one\n" {
			t.Errorf("base holds %q", content)
		}
		if again, err := of.BuildImage(t.Context(), app); err != nil || !again.Unchanged {
			t.Errorf("again: %+v, %v", again, err)
		}
		put(t, base.ProjectRoot, map[string]string{"Dockerfile": "FROM scratch\nCOPY busybox /bin/busybox\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\nRUN echo two >/base\n"})
		make()
		second, err := of.BuildImage(t.Context(), app)
		if err != nil || second.Unchanged || second.InputDigest == first.InputDigest {
			t.Fatalf("after the base: %+v, %v", second, err)
		}
		if content := of.files(t, second.ID)["base"]; content != "two\n" {
			t.Errorf("base holds %q", content)
		}
	})
}
