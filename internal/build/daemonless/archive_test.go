package daemonless

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/nationtech/harmony/pkg/protocol"
)

// archive makes a tar archive of headers; the content is in Uname.
func archive(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := h.Uname
		h.Uname, h.Size = "", int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHostileArchives(t *testing.T) {
	escape := archive(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "out", Linkname: "/../../.."}, file("out/etc/x", "X", 0), file("../../y", "Y", 0))
	for name, test := range map[string]struct {
		content []byte
		code    int
		want    string
	}{
		"device":       {archive(t, tar.Header{Typeflag: tar.TypeChar, Name: "null", Mode: 0o666, Devmajor: 1, Devminor: 3}), 3, "Dockerfile:2: a.tar: null: is a device or a pipe"},
		"pipe":         {archive(t, tar.Header{Typeflag: tar.TypeFifo, Name: "pipe"}), 3, "Dockerfile:2: a.tar: pipe: is a device or a pipe"},
		"link to dir":  {archive(t, tar.Header{Typeflag: tar.TypeDir, Name: "d", Mode: 0o755}, tar.Header{Typeflag: tar.TypeLink, Name: "l", Linkname: "d"}), 2, "Dockerfile:2: a.tar: l: is a hard link to d"},
		"link to none": {archive(t, tar.Header{Typeflag: tar.TypeLink, Name: "l", Linkname: "../../../etc/passwd"}), 2, "is a hard link to ../../../etc/passwd, which is not a file"},
		"cut off":      {archive(t, file("a", strings.Repeat("A", 5000), 0))[:2000], 2, "Dockerfile:2: a.tar: unexpected EOF"},
		"below a file": {archive(t, file("a", "A", 0), file("a/b", "B", 0)), 2, "Dockerfile:2: a.tar: /x/a is there and not a folder"},
		"link loop":    {archive(t, tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "l"}, file("l/b", "B", 0)), 2, "too many symbolic links"},
	} {
		t.Run(name, func(t *testing.T) {
			app := project(t, "FROM scratch\nADD a.tar /x/", map[string]string{"a.tar": string(test.content)})
			b := newBuilder(t)
			_, err := b.BuildImage(t.Context(), app)
			if err == nil || protocol.ExitCode(err) != test.code || !strings.Contains(err.Error(), test.want) {
				t.Errorf("status %d, %v; want %d, %q", protocol.ExitCode(err), err, test.code, test.want)
			}
			if left := leftOver(t, b.cache); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	t.Run("escape", func(t *testing.T) {
		app := project(t, "FROM scratch AS unpacked\nADD a.tar /at/x/\nFROM scratch\nCOPY --from=unpacked /at /", map[string]string{"a.tar": string(escape)})
		_, image := mustBuild(t, newBuilder(t), app)
		want := "d 0755 0:0 x\nd 0755 0:0 x/etc\n- 0640 0:0 x/etc/x X\nl 0777 0:0 x/out /../../..\n- 0640 0:0 x/y Y"
		if got := list(t, image); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestDecompressionBomb(t *testing.T) {
	app := project(t, "FROM scratch\nADD bomb.tar.gz /x/", nil)
	path := filepath.Join(app.ProjectRoot, "bomb.tar.gz")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(out)
	w := tar.NewWriter(z)
	const size = freeUnpacked + 100<<20
	if err := w.WriteHeader(&tar.Header{Name: "zeros", Mode: 0o644, Size: size}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, zeros{}, size); err != nil {
		t.Fatal(err)
	}
	for _, c := range []io.Closer{w, z, out} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b := newBuilder(t)
	_, err = b.BuildImage(t.Context(), app)
	if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "bomb.tar.gz unpacks to more than 100 times its size") {
		t.Errorf("status %d, %v", protocol.ExitCode(err), err)
	}
	if left := leftOver(t, b.cache); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestArchiveNeedsXZ(t *testing.T) {
	xz, err := exec.LookPath("xz")
	if err != nil {
		t.Skip("needs xz")
	}
	command := exec.CommandContext(t.Context(), xz, "-c")
	command.Stdin = bytes.NewReader(archive(t, file("a", "A", 0)))
	packed, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	app := project(t, "FROM scratch\nADD a.tar.xz /x/", map[string]string{"a.tar.xz": string(packed)})
	t.Setenv("PATH", t.TempDir())
	_, err = newBuilder(t).BuildImage(t.Context(), app)
	if protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "needs the program xz") {
		t.Errorf("status %d, %v", protocol.ExitCode(err), err)
	}
}

// TestSameBytesOnAnyProcessors packs several layers at a time and one.
func TestSameBytesOnAnyProcessors(t *testing.T) {
	files := map[string]string{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		files[name] = strings.Repeat(name+" is here\n", 300_000)
	}
	app := project(t, "FROM scratch\nCOPY a /\nCOPY b /\nCOPY c /\nCOPY d /\nCOPY e /", files)
	many, _ := mustBuild(t, newBuilder(t), app)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	one, _ := mustBuild(t, newBuilder(t), app)
	if many.Digest != one.Digest {
		t.Errorf("%s on several processors, %s on one", many.Digest, one.Digest)
	}
}
