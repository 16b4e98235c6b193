package buildable

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/internal/ocilayout"
)

// The static server's source, which has no dependencies.
var (
	//go:embed staticserver/main.go
	serverMain string
	//go:embed staticserver/site.go
	serverSite string
)

const (
	// serverModule is its go.mod.
	serverModule = "module staticserver\n\ngo 1.24\n"
	// serverPath is the program in the image, and serverSource the folder of its
	// source in a context that compiles it.
	serverPath   = "/app/staticserver"
	serverSource = "server"
	// goImage compiles the server where there is no go command.
	goImage = "docker.io/library/golang:1.26"
)

// server compiles the static server: with this machine's go command, or in the
// Dockerfile if it is missing or an image is set.
type server struct {
	image     string
	platforms []ocispec.Platform
	command   string // the go command, absolute; empty without
}

// locate finds the go command, and returns the toolchain.
func (s *server) locate(ctx context.Context) (string, error) {
	path, err := exec.LookPath("go")
	if s.image != "" || err != nil {
		if s.image == "" {
			s.image = goImage
		}
		return "the image " + s.image, nil
	}
	if s.command, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	version, err := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(s.command)), "VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		// Not where Go has it: a wrapper, or a package of a distribution.
		version, err = process.Output(ctx, process.Command{Args: []string{s.command, "env", "GOVERSION"}, Env: serverEnvironment(s.platforms[0])})
	}
	return strings.TrimSpace(string(version)), err
}

// stage compiles the server in the Dockerfile, if that is where it happens.
func (s *server) stage(w *writer) {
	if s.command != "" {
		return
	}
	w.line("FROM --platform=$BUILDPLATFORM %s AS server", s.image)
	w.line("WORKDIR /src")
	w.line("COPY %s/ ./", serverSource)
	w.line("ARG TARGETOS")
	w.line("ARG TARGETARCH")
	w.line("ARG TARGETVARIANT")
	w.line(`RUN GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS= GOOS=$TARGETOS GOARCH=$TARGETARCH GOARM=${TARGETVARIANT#v} ` +
		`go build -trimpath -buildvcs=false -ldflags="-s -w" -o /staticserver .`)
	w.line("")
}

// copy puts the server into the image.
func (s *server) copy(w *writer) {
	if s.command != "" {
		w.program(s.platforms, serverPath)
		return
	}
	w.line("COPY --from=server /staticserver %s", serverPath)
}

// write writes the programs or, where the Dockerfile compiles, the source.
func (s *server) write(ctx context.Context, dir string) error {
	if s.command == "" {
		return writeServer(filepath.Join(dir, serverSource))
	}
	source, err := os.MkdirTemp(dir, ".server-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(source) // in a folder that is removed after the build
	if err := writeServer(source); err != nil {
		return err
	}
	for _, p := range s.platforms {
		err := writeProgram(dir, p, func(binary string) error { return s.compile(ctx, p, source, binary) })
		if err != nil {
			return err
		}
	}
	return nil
}

func writeServer(dir string) error {
	return errors.Join(
		writeFile(filepath.Join(dir, "go.mod"), []byte(serverModule)),
		writeFile(filepath.Join(dir, "main.go"), []byte(serverMain)),
		writeFile(filepath.Join(dir, "site.go"), []byte(serverSite)),
	)
}

func (s *server) compile(ctx context.Context, p ocispec.Platform, source, binary string) error {
	_, err := process.Output(ctx, process.Command{
		Args: []string{s.command, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", binary, "."},
		Dir:  source, Env: serverEnvironment(p),
	})
	if err != nil {
		return fmt.Errorf("compile the static server for %s: %w", ocilayout.PlatformString(p), explain(err))
	}
	return nil
}

// serverEnvironment leaves out what would change the program.
func serverEnvironment(p ocispec.Platform) []string {
	return append(environment(p), "GOTOOLCHAIN=local", "GOWORK=off", "GOFLAGS=", "GOEXPERIMENT=", "GOFIPS140=off", "GOENV=off")
}
