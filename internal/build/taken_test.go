package build_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

// TestOnlyWhatIsNamedCounts changes a file of the context: it is of consequence
// where the Dockerfile takes it, and nowhere else.
func TestOnlyWhatIsNamedCounts(t *testing.T) {
	for name, test := range map[string]struct {
		dockerfile, change string
		same               bool
	}{
		"a file":                    {"FROM scratch\nCOPY a /", "a", false},
		"another file":              {"FROM scratch\nCOPY a /", "d/run", true},
		"git":                       {"FROM scratch\nCOPY a d /x/", ".git/FETCH_HEAD", true},
		"git by name":               {"FROM scratch\nCOPY .git /x", ".git/FETCH_HEAD", false},
		"git with all":              {"FROM scratch\nADD . /x", ".git/FETCH_HEAD", false},
		"the Dockerfile's neighbor": {"FROM scratch\nADD a* /", "b", true},
		"a pattern":                 {"FROM scratch\nADD [a-b] /", "b", false},
		"excluded":                  {"FROM scratch\nCOPY --exclude=*.md . /", "x.md", true},
		"parents":                   {"FROM scratch\nCOPY --parents d/*/f /", "d/e/g", true},
		"one of the parents":        {"FROM scratch\nCOPY --parents d/*/f /", "d/e/f", false},
		"an argument":               {"FROM scratch\nARG N=a\nCOPY $N /", "a", false},
		"not the argument":          {"FROM scratch\nARG N=a\nENV N=b\nCOPY $N /", "a", true},
		"a stage":                   {"FROM scratch AS s\nCOPY a /\nFROM scratch\nCOPY --from=s / /", "a", false},
		"a stage not needed":        {"FROM scratch AS s\nCOPY a /\nFROM scratch\nCOPY b /", "a", true},
		"a trigger":                 {"FROM scratch AS s\nONBUILD COPY a /\nFROM s", "a", false},
		"a mount":                   {"FROM scratch\nRUN --mount=type=bind,target=/s make", "a", false},
		"a mount of a folder":       {"FROM scratch\nRUN --mount=type=bind,source=d,target=/s make", "a", true},
		"a cache":                   {"FROM scratch\nRUN --mount=type=cache,target=/s make", "a", true},
		"behind a link":             {"FROM scratch\nCOPY link /", "a", false},
		"another syntax":            {"# syntax=example.com/f@sha256:" + strings.Repeat("0", 64) + "\nwhatever", "a", false},
	} {
		t.Run(name, func(t *testing.T) {
			app := demo(t)
			write(t, app.ProjectRoot, map[string]string{
				"Dockerfile": test.dockerfile + "\n", ".dockerignore": "", "b": "B", "link": "-> a", "d/e/f": "F", test.change: "one",
			})
			before := plan(t, app)
			write(t, app.ProjectRoot, map[string]string{test.change: "two"})
			if same := plan(t, app) == before; same != test.same {
				t.Errorf("the input is the same: %t", same)
			}
		})
	}
}

// TestOddFilesAreRefusedWhereTheyAreTaken has files that cannot be in an image,
// and one that is written to while the image is made.
func TestOddFilesAreRefusedWhereTheyAreTaken(t *testing.T) {
	for name, prepare := range map[string]func(string) error{
		"a pipe":               func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "odd"), 0o644) },
		"a control character":  func(dir string) error { return os.WriteFile(filepath.Join(dir, "odd\r"), nil, 0o644) },
		"a name without UTF-8": func(dir string) error { return os.Mkdir(filepath.Join(dir, "odd\xff"), 0o755) },
		"a very large file": func(dir string) error {
			if err := os.WriteFile(filepath.Join(dir, "odd"), nil, 0o644); err != nil {
				return err
			}
			return os.Truncate(filepath.Join(dir, "odd"), 9<<30)
		},
	} {
		t.Run(name, func(t *testing.T) {
			app := demo(t)
			if err := prepare(app.ProjectRoot); err != nil {
				t.Fatal(err)
			}
			_, err := newStage(t).build(t.Context(), (&builds{}).adapter(nil), app)
			if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.Contains(err.Error(), "Dockerfile:4: ") {
				t.Errorf("taken: status %d, %v", protocol.ExitCode(err), err)
			}
			write(t, app.ProjectRoot, map[string]string{"Dockerfile": "FROM scratch\nCOPY a /\n"})
			b := &builds{during: func() { write(t, app.ProjectRoot, map[string]string{"log": "more"}) }}
			if _, err := newStage(t).build(t.Context(), b.adapter(nil), app); err != nil {
				t.Errorf("not taken: %v", err)
			}
			newStage(t).daemonless(t, app)
		})
	}
}
