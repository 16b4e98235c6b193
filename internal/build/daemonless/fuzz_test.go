package daemonless

import (
	"context"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/pkg/capability"
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
	dir := fuzzProject(f)
	b, err := newBackend(capability.Environment{Cache: f.TempDir(), Progress: func(protocol.Event) {}})
	if err != nil {
		f.Fatal(err)
	}
	platforms := []ocispec.Platform{{OS: "linux", Architecture: "amd64"}}
	f.Fuzz(func(t *testing.T, text string) {
		r := build.Request{Platforms: platforms, Context: build.Context{Name: "Dockerfile", Text: []byte(text), Dir: dir, Dockerfile: dir + "/none"}}
		r.App.Name, r.Verify = "fuzz", func(context.Context) error { return nil }
		if err := b.Check(t.Context(), r); err != nil {
			wantStatus(t, err)
			return
		}
		file, err := dockerfile.Parse("Dockerfile", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if images, err := file.Images(platforms[0], r.Context); err != nil || len(images) > 0 {
			return // would be fetched
		}
		if _, err := b.Build(t.Context(), r, protocol.ImageRef{}); err != nil {
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
