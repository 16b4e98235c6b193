package differential

import (
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// testCase is one file of testdata.
type testCase struct {
	dir        string // the context
	dockerfile string
	args       map[string]string
	target     string
	platform   string
	fails      string
	refused    string
	layers     string
}

// servers are where the made-up names of a case lead.
type servers struct {
	registry string // host and prefix
	files    string // host
}

func (s servers) replace(text []byte) []byte {
	return []byte(strings.NewReplacer("registry.test", s.registry, "files.test", s.files).Replace(string(text)))
}

// open lays out the context of a case, pushes its base images, and serves its
// files.
func open(t *testing.T, path string, s servers, files *fileServer) testCase {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := testCase{dir: t.TempDir(), dockerfile: "Dockerfile", args: map[string]string{}, platform: "linux/" + runtime.GOARCH}
	for _, f := range archive.Files {
		prefix, name, special := strings.Cut(f.Name, ":")
		switch {
		case !special:
			put(t, filepath.Join(c.dir, f.Name), s.replace(f.Data))
		case prefix == "tar":
			put(t, filepath.Join(c.dir, name), pack(t, name, f.Data))
		case prefix == "base64":
			put(t, filepath.Join(c.dir, name), binary(t, f.Data))
		case prefix == "base":
			pushBase(t, s.registry+"/"+name, f.Data)
		case prefix == "http":
			files.serve(name, f.Data)
		default:
			t.Fatalf("%s: unknown section %s", path, f.Name)
		}
	}
	for line := range strings.Lines(string(archive.Comment)) {
		c.direct(t, strings.TrimSpace(line))
	}
	return c
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func binary(t *testing.T, text []byte) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// direct obeys a line of the comment.
func (c *testCase) direct(t *testing.T, line string) {
	t.Helper()
	word, rest, _ := strings.Cut(line, " ")
	first, second, _ := strings.Cut(rest, " ")
	in := func(name string) string { return filepath.Join(c.dir, name) }
	var err error
	switch word {
	case "arg":
		name, value, _ := strings.Cut(rest, "=")
		c.args[name] = value
	case "target":
		c.target = rest
	case "platform":
		c.platform = rest
	case "dockerfile":
		c.dockerfile = rest
	case "fails":
		c.fails = rest
	case "refused":
		c.refused = rest
	case "layers":
		c.layers = rest
	case "mkdir":
		err = os.MkdirAll(in(rest), 0o755)
	case "symlink":
		err = os.Symlink(second, in(first))
	case "hardlink":
		err = os.Link(in(second), in(first))
	case "chmod":
		err = os.Chmod(in(second), modeOf(t, first))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// modeOf reads an octal mode with its special bits.
func modeOf(t *testing.T, text string) fs.FileMode {
	t.Helper()
	n, err := strconv.ParseUint(text, 8, 12)
	if err != nil {
		t.Fatal(err)
	}
	mode := fs.FileMode(n & 0o777)
	for bit, flag := range map[uint64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if n&bit != 0 {
			mode |= flag
		}
	}
	return mode
}
