package daemonless

import (
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/layout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// FuzzDockerfile reads, plans and makes whatever it is given. Nothing may panic,
// and each error has a status of its own.
func FuzzDockerfile(f *testing.F) {
	for _, seed := range []string{
		fixedDockerfile, onBase, "FROM scratch\nRUN x", "# escape=`\nFROM scratch\nCOPY a `\n b",
		"FROM scratch\nCOPY <<EOF /x\nhi\nEOF", "ARG A=b\nFROM ${A:-scratch} AS x\nFROM x\nCOPY --from=x --chown=1:2 --chmod=755 /a* /b/",
		"FROM scratch\nEXPOSE 1-3/udp\nVOLUME a\nUSER u\nSTOPSIGNAL 9\nSHELL [\"a\"]\nCMD b\nHEALTHCHECK NONE", "FROM scratch\nWORKDIR ../..\nADD d ./../x/",
	} {
		f.Add(seed)
	}
	app := fuzzProject(f)
	store := layout.Store{Dir: f.TempDir()}
	f.Fuzz(func(t *testing.T, text string) {
		file, err := parse("Dockerfile", []byte(text))
		if err != nil {
			wantStatus(t, err)
			return
		}
		if file.usesNetwork() {
			return
		}
		source, err := openContext(app, "", app+"/none")
		if err != nil {
			t.Fatal(err)
		}
		defer source.Close()
		recipe := &dockerfile{name: "Dockerfile", progress: func(string, string, ...any) {}}
		e := evaluator{file: file, recipe: recipe, platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, source: source}
		plan, err := e.target(t.Context(), "")
		if err != nil {
			wantStatus(t, err)
			return
		}
		draft, err := store.Begin("fuzz")
		if err != nil {
			t.Fatal(err)
		}
		defer draft.Discard()
		m := maker{recipe: recipe, draft: draft, trees: map[*state]*tree{}}
		if _, err := m.image(t.Context(), plan); err != nil {
			wantStatus(t, err)
		}
	})
}

func fuzzProject(f *testing.F) string {
	f.Helper()
	dir := f.TempDir()
	write(f, dir, map[string]string{"a": "A", "d/b": "B", "d/l": "-> ../a", "run!": "r", ".dockerignore": "*.log\n!x.log"})
	return dir
}

func wantStatus(t *testing.T, err error) {
	t.Helper()
	if code := protocol.ExitCode(err); code != protocol.ExitInvalid && code != protocol.ExitUnsupported {
		t.Errorf("status %d: %v", code, err)
	}
	if !strings.HasPrefix(err.Error(), "Dockerfile:") {
		t.Errorf("no place in %q", err)
	}
}

// usesNetwork reports whether an image might be fetched.
func (f *parsed) usesNetwork() bool {
	for i, s := range f.stages {
		if _, ok := f.stage(s.BaseName, i, false); !ok && s.BaseName != "scratch" {
			return true
		}
		for _, c := range s.Commands {
			if c, ok := c.(*instructions.CopyCommand); ok && c.From != "" {
				if _, ok := f.stage(c.From, i, true); !ok {
					return true
				}
			}
		}
	}
	return false
}
