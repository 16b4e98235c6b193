package buildable

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/build/layout"
	"github.com/nationtech/harmony/internal/process"
	"github.com/nationtech/harmony/pkg/protocol"
)

// format is a part of every input digest. It changes with anything that makes
// another image of the same input.
const format = "go 1"

// Go compiles a Go main package and makes an image of it.
type Go struct {
	// Source is the app's.
	Source protocol.Buildable
	// Root is the project's folder, absolute.
	Root string
	// Platforms to build for.
	Platforms []ocispec.Platform
	// Created is the time that the image tells.
	Created time.Time
	// Memory is a folder to remember in what was looked at. It need not exist.
	Memory string

	command string // the go command, absolute
	survey  survey
	digests *inputs.Digests
	trace   *inputs.Trace // of the survey; nil where it proves nothing
}

// InputDigest is the digest, sha256:…, of everything that the image is made
// from: sources, module versions, toolchain, flags and platforms, but no folder
// names or times, so that it is the same on any machine. When nothing changed
// since the last time the go command is not started.
//
// It fails with status protocol.ExitUnsupported when there is no go command and
// with protocol.ExitInvalid when the package is not there or not a main package.
func (g *Go) InputDigest(ctx context.Context) (string, error) {
	if g.trace != nil && g.trace.Holds(g.digests) {
		return g.survey.digest, g.digests.Save()
	}
	if err := g.locate(); err != nil {
		return "", err
	}
	path := filepath.Join(g.Memory, "go-"+g.key()[:32])
	g.digests = inputs.OpenDigests(path + ".digests")
	trace, err := inputs.LoadTrace(path + ".trace")
	if err == nil && g.survey.parse(trace.Answer) && trace.Holds(g.digests) {
		g.trace = trace
		return g.survey.digest, g.digests.Save()
	}
	start := time.Now()
	s := surveyor{Go: g, notes: &inputs.Trace{}}
	if g.survey, err = s.run(ctx); err != nil {
		return "", err
	}
	g.trace = nil
	if s.traceable && s.notes.SettledBefore(start) {
		g.trace = s.notes
		g.trace.Answer = g.survey.String()
		err = g.trace.Save(path + ".trace")
	}
	return g.survey.digest, errors.Join(err, g.digests.Save())
}

// locate finds the go command and the folder of the package.
func (g *Go) locate() error {
	if info, err := os.Stat(g.folder()); err != nil || !info.IsDir() {
		return protocol.Invalid("buildable go: main: %s is not a folder in %s", g.main(), g.Root)
	}
	path, err := exec.LookPath("go")
	if err != nil {
		return protocol.Unsupported("buildable go: no go command on PATH").
			WithHint("install Go from https://go.dev/dl, or use a Dockerfile that compiles the program")
	}
	g.command, err = filepath.EvalSymlinks(path)
	return err
}

// main is the package's folder, relative to the root and with a dot in front,
// so that it can neither be a flag nor an import path.
func (g *Go) main() string {
	return "./" + filepath.ToSlash(filepath.Clean(cmp.Or(g.Source.Main, ".")))
}

func (g *Go) folder() string { return filepath.Join(g.Root, g.Source.Main) }

// directory is where the go command runs: the root, or the folder of a module
// below it that has the package.
func (g *Go) directory() string {
	for dir := g.folder(); dir != g.Root && strings.HasPrefix(dir, g.Root); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	return g.Root
}

// key identifies what is built, and in what environment, on this machine.
func (g *Go) key() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q\n", format, g.command, g.Root, g.fixed())
	for _, variable := range slices.Sorted(slices.Values(os.Environ())) {
		name, _, _ := strings.Cut(variable, "=")
		// HOME and XDG_CONFIG_HOME lead to the file of `go env -w`.
		if strings.HasPrefix(name, "GO") || name == "HOME" || name == "XDG_CONFIG_HOME" {
			fmt.Fprintf(h, "%q\n", variable)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// fixed tells what does not depend on files.
func (g *Go) fixed() string {
	var platforms []string
	for _, p := range g.Platforms {
		platforms = append(platforms, layout.PlatformString(p))
	}
	return fmt.Sprintf("%s created %d platforms %q main %q ldflags %q tags %q base %s",
		format, g.Created.Unix(), platforms, g.main(), g.Source.LDFlags, g.Source.Tags, baseDigest())
}

// environment is that of the go command for a platform. Of variables given
// twice the last holds.
func environment(p ocispec.Platform) []string {
	env := append(os.Environ(),
		"GO111MODULE=on", "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Architecture,
		// An empty GOFLAGS would let that of `go env -w` hold.
		"GOFLAGS=-trimpath",
		"GOAMD64=v1", "GOARM=7", "GOARM64=v8.0", "GO386=sse2", "GORISCV64=rva20u64", "GOPPC64=power8",
	)
	switch number, _ := strings.CutPrefix(p.Variant, "v"); {
	case p.Variant == "":
	case p.Architecture == "amd64":
		env = append(env, "GOAMD64="+p.Variant)
	case p.Architecture == "arm":
		env = append(env, "GOARM="+number)
	case p.Architecture == "arm64" && strings.Contains(number, "."):
		env = append(env, "GOARM64="+p.Variant)
	}
	return env
}

// flags are those of both go list and go build.
func (g *Go) flags() []string {
	flags := []string{"-trimpath", "-buildvcs=false"}
	if len(g.Source.Tags) > 0 {
		flags = append(flags, "-tags="+strings.Join(g.Source.Tags, ","))
	}
	return flags
}

// run runs the go command in the folder of the module.
func (g *Go) run(ctx context.Context, p ocispec.Platform, args ...string) ([]byte, error) {
	return process.Output(ctx, process.Command{
		Args: append([]string{g.command}, args...), Dir: g.directory(), Env: environment(p),
	})
}

// target is the package as an argument of the go command.
func (g *Go) target() string {
	rel, err := filepath.Rel(g.directory(), g.folder())
	if err != nil {
		return "." // both begin with the root
	}
	return "./" + filepath.ToSlash(rel)
}

// Compile compiles the package for a platform into the folder and returns what
// the image of it holds. The symbol table and debug information are left out,
// which a later -s=false or -w=false in the app's ldflags undoes. InputDigest
// has to have been called before.
func (g *Go) Compile(ctx context.Context, p ocispec.Platform, folder string) (Content, error) {
	binary := filepath.Join(folder, strings.ReplaceAll(layout.PlatformString(p), "/", "-"))
	ldflags := strings.Join(append([]string{"-s -w"}, g.Source.LDFlags...), " ")
	args := append([]string{"build"}, g.flags()...)
	_, err := g.run(ctx, p, append(args, "-ldflags="+ldflags, "-o", binary, g.target())...)
	if err != nil {
		return Content{}, fmt.Errorf("compile %s for %s: %w", g.main(), layout.PlatformString(p), explain(err))
	}
	return g.content(p, g.survey.name, binary)
}

// explain is what the go command said, without its long arguments.
func explain(err error) error {
	var failure *process.Error
	if !errors.As(err, &failure) {
		return err
	}
	output := bytes.TrimSpace(failure.Output)
	if bytes.Contains(output, []byte("unsupported GOOS/GOARCH")) {
		return protocol.Invalid("%s", output)
	}
	return fmt.Errorf("%w\n%s", failure.Err, output)
}
