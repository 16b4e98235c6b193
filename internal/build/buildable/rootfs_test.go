package buildable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/build/dockerfile"
)

// rootfs is the file system of a stand-in for a base image, since none can be
// pulled: programs of this machine with the libraries that they need.
type rootfs struct{ dir string }

func newRootfs(t *testing.T) rootfs {
	t.Helper()
	r := rootfs{t.TempDir()}
	for _, dir := range []string{"bin", "tmp", "lib64", "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(r.dir, "root", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// context is the image FROM scratch, with more instructions.
func (r rootfs) context(t *testing.T, instructions string) dockerfile.Context {
	t.Helper()
	path := filepath.Join(r.dir, "Dockerfile")
	if err := os.WriteFile(path, []byte("FROM scratch\nCOPY root/ /\n"+instructions+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dockerfile.Context{Dir: r.dir, Dockerfile: path}
}

// busybox adds a shell and the small commands.
func (r rootfs) busybox(t *testing.T) {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox-static")
	}
	r.file(t, path, "/bin/busybox")
	for _, command := range []string{"sh", "cp", "mkdir", "find", "touch", "cat", "echo", "rm"} {
		if err := os.Symlink("busybox", filepath.Join(r.dir, "root/bin", command)); err != nil {
			t.Fatal(err)
		}
	}
}

// text adds an executable script.
func (r rootfs) text(t *testing.T, path, text string) {
	t.Helper()
	write(t, filepath.Join(r.dir, "root"), map[string]string{path: text})
	if err := os.Chmod(filepath.Join(r.dir, "root", path), 0o755); err != nil {
		t.Fatal(err)
	}
}

// file adds a file, links followed, as a hard link where that is possible.
func (r rootfs) file(t *testing.T, from, to string) {
	t.Helper()
	real, err := filepath.EvalSymlinks(from)
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(r.dir, "root", to)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		t.Fatal(err)
	}
	err = os.Link(real, target)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return
	}
	in, err := os.Open(real)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}

// tree adds a folder with all that is in it, but for tests and their data.
func (r rootfs) tree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() && (d.Name() == "testdata" || d.Name() == "cmd") {
			return fs.SkipDir
		}
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		below, err := filepath.Rel(from, path)
		if err == nil {
			r.file(t, path, filepath.Join(to, below))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

var library = regexp.MustCompile(`(?m)(?:=> |^\t)(/\S+) \(0x`)

// program adds a program under its own path, with its libraries.
func (r rootfs) program(t *testing.T, path string) {
	t.Helper()
	r.file(t, path, path)
	r.libraries(t, path)
}

// libraries adds those of a program.
func (r rootfs) libraries(t *testing.T, path string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ldd", path).Output()
	if err != nil {
		t.Fatalf("ldd %s: %v", path, err)
	}
	for _, match := range library.FindAllStringSubmatch(string(out), -1) {
		if clean := filepath.Clean(match[1]); !underToolchain(clean) {
			r.file(t, clean, clean)
		}
	}
}
