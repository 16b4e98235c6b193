package buildable

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/cli/term"
)

// The names in a context that is written here.
const (
	dockerfileName = "Dockerfile"
	baseName       = "base.tar"
	programFolder  = "bin"
)

// writer writes a Dockerfile that the classic builder of old daemons understands,
// too.
type writer struct {
	name string
	text bytes.Buffer
}

// newWriter begins a Dockerfile; messages call it name.
func newWriter(name string) *writer {
	w := &writer{name: name}
	w.line("# Written by harmony: %s", term.OneLine(name)) // a folder may have line breaks in its name
	return w
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(&w.text, format+"\n", args...) }

// base begins the last stage with what [writeBase] writes.
func (w *writer) base() {
	w.line("FROM scratch")
	w.line("ADD %s /", baseName)
}

// program copies the program of the platform. With one platform it is named,
// because the classic builder does not know TARGETARCH.
func (w *writer) program(platforms []ocispec.Platform, path string) {
	name := platformName(platforms[0])
	if len(platforms) > 1 {
		w.line("ARG TARGETOS")
		w.line("ARG TARGETARCH")
		w.line("ARG TARGETVARIANT")
		name = "${TARGETOS}_${TARGETARCH}${TARGETVARIANT}"
	}
	w.line("COPY %s/%s %s", programFolder, name, path)
}

// run ends the Dockerfile: the user runs the command in the folder, which belongs to
// root if it is new.
func (w *writer) run(folder, user string, command ...string) {
	w.line("WORKDIR %s", folder)
	w.line("USER %s", user)
	w.line("ENTRYPOINT %s", jsonList(command))
}

func jsonList(command []string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(command); err != nil {
		panic(err) // strings only
	}
	return strings.TrimSpace(b.String())
}

func (w *writer) context() dockerfile.Context {
	return dockerfile.Context{Name: w.name, Text: w.text.Bytes()}
}

func writeDockerfile(dir string, c dockerfile.Context) (dockerfile.Context, error) {
	c.Dir, c.Dockerfile = dir, filepath.Join(dir, dockerfileName)
	return c, writeFile(c.Dockerfile, c.Text)
}

// platformName is the name of a platform's program, as a Dockerfile makes it of
// TARGETOS, TARGETARCH and TARGETVARIANT.
func platformName(p ocispec.Platform) string { return p.OS + "_" + p.Architecture + p.Variant }

// writeProgram has compile write the program of a platform into a context. It gives
// it the mode that it has in the image, whatever the umask is, and the other name by
// which builders know its platform.
func writeProgram(dir string, p ocispec.Platform, compile func(binary string) error) error {
	folder := filepath.Join(dir, programFolder)
	binary := filepath.Join(folder, platformName(p))
	err := os.MkdirAll(folder, 0o755)
	if err == nil {
		err = compile(binary)
	}
	if err == nil {
		err = os.Chmod(binary, 0o755)
	}
	usual := map[string]string{"arm": "v7", "arm64": "v8", "amd64": "v1"}[p.Architecture]
	switch {
	case err != nil || usual == "":
		return err
	case p.Variant == "":
		p.Variant = usual
	case p.Variant == usual:
		p.Variant = ""
	default:
		return nil
	}
	err = os.Link(binary, filepath.Join(folder, platformName(p)))
	if errors.Is(err, os.ErrExist) {
		return nil // also built, as a platform of its own
	}
	return err
}
