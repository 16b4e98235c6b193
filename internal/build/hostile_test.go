package build_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// TestHostileContext holds for every adapter: it is refused before one gets it.
func TestHostileContext(t *testing.T) {
	outside := t.TempDir()
	write(t, outside, map[string]string{"secret": "s3cr3t", "Dockerfile": "s3cr3t"})
	tests := map[string]struct {
		change func(dir string, d *protocol.Dockerfile) error
		want   string
	}{
		"a FIFO": {func(dir string, _ *protocol.Dockerfile) error {
			return syscall.Mkfifo(filepath.Join(dir, "d/pipe"), 0o644)
		}, "d/pipe is neither a file, a folder nor a symbolic link (a named pipe)"},
		"a device": {func(dir string, _ *protocol.Dockerfile) error {
			return syscall.Mknod(filepath.Join(dir, "null"), syscall.S_IFCHR|0o666, 1<<8|3)
		}, "null is neither a file, a folder nor a symbolic link (a device)"},
		"a name with a newline": {func(dir string, _ *protocol.Dockerfile) error {
			return os.WriteFile(filepath.Join(dir, "a\nb"), nil, 0o644)
		}, `the file name "a\nb" has control characters`},
		"a name that is not UTF-8": {func(dir string, _ *protocol.Dockerfile) error {
			return os.WriteFile(filepath.Join(dir, "a\xff"), nil, 0o644)
		}, `the file name "a\xff" has control characters or is not UTF-8`},
		"a folder with a newline": {func(dir string, _ *protocol.Dockerfile) error {
			return os.Mkdir(filepath.Join(dir, "a\n"), 0o755)
		}, `the file name "a\n" has control characters`},
		"10 GB of nothing": {func(dir string, _ *protocol.Dockerfile) error {
			if err := os.WriteFile(filepath.Join(dir, "huge"), nil, 0o644); err != nil {
				return err
			}
			return os.Truncate(filepath.Join(dir, "huge"), 10<<30)
		}, "huge has 10737418240 bytes, more than the 8589934592"},
		"a Dockerfile of 1 MB": {func(dir string, _ *protocol.Dockerfile) error {
			return os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\n"+strings.Repeat("LABEL a=b\n", 100_000)), 0o644)
		}, "Dockerfile: larger than 512 KiB"},
		"an ignore file of 1 MB": {func(dir string, _ *protocol.Dockerfile) error {
			return os.WriteFile(filepath.Join(dir, ".dockerignore"), []byte(strings.Repeat("file\n", 200_000)), 0o644)
		}, ".dockerignore: larger than 512 KiB"},
		"a bad pattern": {func(dir string, _ *protocol.Dockerfile) error {
			return os.WriteFile(filepath.Join(dir, ".dockerignore"), []byte("a[\n"), 0o644)
		}, ".dockerignore: "},
		"a Dockerfile that is a FIFO": {func(dir string, d *protocol.Dockerfile) error {
			d.Path = "pipe"
			return syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644)
		}, "pipe: not a regular file"},
		"a Dockerfile that is a link out": {func(dir string, d *protocol.Dockerfile) error {
			d.Path = "link"
			return os.Symlink(filepath.Join(outside, "Dockerfile"), filepath.Join(dir, "link"))
		}, "which leads out of the project"},
		"a context that is a link out": {func(dir string, d *protocol.Dockerfile) error {
			d.Path, d.Context = "Dockerfile", "link"
			return os.Symlink(outside, filepath.Join(dir, "link"))
		}, "which leads out of the project"},
		"a named context that is a link out": {func(dir string, d *protocol.Dockerfile) error {
			d.Contexts = map[string]string{"more": "link"}
			return os.Symlink(outside, filepath.Join(dir, "link"))
		}, "which leads out of the project"},
		"a secret as a value":      {func(_ string, d *protocol.Dockerfile) error { d.Secrets = map[string]string{"a": "s3cr3t"}; return nil }, "dockerfile.secrets.a is neither env:NAME nor file:PATH"},
		"a context that is absent": {func(_ string, d *protocol.Dockerfile) error { d.Path, d.Context = "Dockerfile", "no"; return nil }, "/no does not exist"},
	}
	for _, name := range inOrder(tests) {
		t.Run(name, func(t *testing.T) {
			app, s, b := demo(t), newStage(t), &builds{}
			if err := tests[name].change(app.ProjectRoot, app.Image.Dockerfile); err != nil {
				t.Skip(err) // a file system or user that cannot make it
			}
			_, err := s.build(t.Context(), b.adapter(nil), app)
			if err == nil || protocol.ExitCode(err) != protocol.ExitInvalid || strings.Count(err.Error(), tests[name].want) != 1 || len(b.requests) > 0 {
				t.Fatalf("status %d, %v; want %q", protocol.ExitCode(err), err, tests[name].want)
			}
			if strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("%v shows what is not the app's", err)
			}
		})
	}
}

// TestHarmlessContext has what is refused elsewhere, but ignored, and links that
// lead out, which are copied as links.
func TestHarmlessContext(t *testing.T) {
	app := demo(t)
	write(t, app.ProjectRoot, map[string]string{"up": "-> ../..", "etc": "-> /etc/passwd", ".dockerignore": "pipe\nodd*\n"})
	if err := syscall.Mkfifo(filepath.Join(app.ProjectRoot, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(app.ProjectRoot, "odd\n"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	before := plan(t, app)
	socket, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(app.ProjectRoot, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if got := plan(t, app); got != before {
		t.Error("a socket is a part of the context")
	}
	newStage(t).daemonless(t, app)
}

func TestManyFiles(t *testing.T) {
	app := demo(t)
	// In memory where possible: most disks need a minute for so many files.
	if dir, err := os.MkdirTemp("/dev/shm", "harmony-test-*"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		if err := os.CopyFS(dir, os.DirFS(app.ProjectRoot)); err != nil {
			t.Fatal(err)
		}
		app.ProjectRoot = dir
	}
	for i := range 100_000 {
		dir := filepath.Join(app.ProjectRoot, fmt.Sprintf("many/%03d", i/500))
		if i%500 == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, b := newStage(t), &builds{}
	if _, err := s.build(t.Context(), b.adapter(nil), app); err != nil {
		t.Fatal(err)
	}
	s.flags.Explain = true
	write(t, app.ProjectRoot, map[string]string{"many/150/75000": "changed"})
	if _, err := s.build(t.Context(), b.adapter(&s.flags), app); err != nil || strings.Join(s.said("explain"), " ") != "file many/150/75000 changed" {
		t.Errorf("%v, explained %q", err, s.said("explain"))
	}
}
