package differential

import (
	"archive/tar"
	"bytes"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// pack makes an archive of a list, compressed as its name says.
func pack(t *testing.T, name string, list []byte) []byte {
	t.Helper()
	plain := tarOf(t, string(list))
	var out bytes.Buffer
	switch name[strings.LastIndexByte(name, '.'):] {
	case ".gz", ".tgz":
		z := gzip.NewWriter(&out)
		pour(t, z, plain)
	case ".zst":
		z, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		pour(t, z, plain)
	case ".bz2":
		return filter(t, plain, "bzip2")
	case ".xz":
		return filter(t, plain, "xz")
	default:
		return plain
	}
	return out.Bytes()
}

func pour(t *testing.T, w io.WriteCloser, data []byte) {
	t.Helper()
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// filter compresses with a program, as the standard library cannot.
func filter(t *testing.T, data []byte, program string) []byte {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs %s", program)
	}
	command := exec.CommandContext(t.Context(), program, "-c")
	command.Stdin = bytes.NewReader(data)
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tarOf(t *testing.T, list string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for line := range strings.Lines(list) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		h, content := header(t, line)
		if err := w.WriteHeader(h); err != nil {
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

// header reads KIND MODE UID:GID PATH [CONTENT].
func header(t *testing.T, line string) (*tar.Header, string) {
	t.Helper()
	fields := strings.SplitN(line, " ", 5)
	if len(fields) < 4 {
		t.Fatalf("entry %q", line)
	}
	uid, gid, _ := strings.Cut(fields[2], ":")
	content := ""
	if len(fields) == 5 {
		content = fields[4]
	}
	h := &tar.Header{Name: fields[3], Mode: number(t, fields[1], 8), Uid: int(number(t, uid, 10)), Gid: int(number(t, gid, 10))}
	switch fields[0] {
	case "d":
		h.Typeflag = tar.TypeDir
		h.Name += "/"
	case "l":
		h.Typeflag, h.Linkname, content = tar.TypeSymlink, content, ""
	case "h":
		h.Typeflag, h.Linkname, content = tar.TypeLink, content, ""
	case "c":
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 1, 3
	case "p":
		h.Typeflag = tar.TypeFifo
	default:
		h.Typeflag, h.Size = tar.TypeReg, int64(len(content))
	}
	return h, content
}

func number(t *testing.T, text string, base int) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, base, 32)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
