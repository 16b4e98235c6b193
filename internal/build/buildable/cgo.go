package buildable

import (
	"context"
	"debug/elf"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/internal/cli/term"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// checkCGO refuses platforms that this machine's C compiler does not compile for.
func (o Options) checkCGO() error {
	if !o.App.Image.Buildable.CGO {
		return nil
	}
	for _, p := range o.Platforms {
		if p.OS != runtime.GOOS || p.Architecture != runtime.GOARCH {
			return protocol.Unsupported("%s: image.buildable.cgo: the C compiler of this machine compiles for %s/%s, not for %s",
				o.App.Name, runtime.GOOS, runtime.GOARCH, ocilayout.PlatformString(p)).
				WithHint("build on a machine of that platform, or use a Dockerfile with a cross compiler")
		}
	}
	return nil
}

// ofCompiler knows the variables that choose the C compiler and what it reads.
func ofCompiler(name string) bool {
	return strings.HasPrefix(name, "CGO_") || strings.HasPrefix(name, "PKG_CONFIG") ||
		slices.Contains([]string{"CC", "CXX", "PATH", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH"}, name)
}

// compilers notes the C and C++ compilers with their versions and flags. What they read
// of this machine, its headers and libraries, is not a part of the input.
func (s *surveyor) compilers(ctx context.Context) error {
	if !s.source.CGO {
		return nil
	}
	names := []string{"CC", "CXX", "CGO_CFLAGS", "CGO_CPPFLAGS", "CGO_CXXFLAGS", "CGO_LDFLAGS"}
	out, err := s.ask(ctx, s.options.Platforms[0], append([]string{"env", "-json"}, names...)...)
	if err != nil {
		return fmt.Errorf("ask for the C compiler: %w", err)
	}
	var env map[string]string
	if err := json.Unmarshal(out, &env); err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	for _, name := range names[2:] {
		s.item(inputs.Setting, name, env[name])
	}
	for _, name := range names[:2] {
		if err := s.compiler(ctx, name, env[name]); err != nil {
			return err
		}
	}
	return nil
}

func (s *surveyor) compiler(ctx context.Context, variable, command string) error {
	words, err := splitFlags(command)
	if err != nil || len(words) == 0 {
		return s.options.invalid("cgo", "%s is %q, which is no command", variable, command)
	}
	path, err := exec.LookPath(words[0])
	if err != nil && variable == "CXX" {
		return nil // the go command says if it is needed
	}
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		return protocol.Unsupported("%s: image.buildable.cgo: there is no C compiler %s on PATH", s.options.App.Name, words[0]).
			WithHint("install one (gcc, clang), or name it in %s", variable)
	}
	if err := s.optional("", "", path); err != nil {
		return err
	}
	out, err := process.Output(ctx, process.Command{Args: append(words, "--version"), Dir: s.directory()})
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w", words[0], err)
	}
	s.item("toolchain", variable, command+": "+term.FirstLine(string(out)))
	return nil
}

// checkStatic refuses a program that needs libraries, which an empty image does not
// have.
func (g *golang) checkStatic(binary string) error {
	file, err := elf.Open(binary)
	if err != nil {
		return nil // for another system than Linux
	}
	defer file.Close()
	if !slices.ContainsFunc(file.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return nil
	}
	needs := "a dynamic linker"
	if libraries, err := file.ImportedLibraries(); err == nil && len(libraries) > 0 {
		needs = strings.Join(libraries, ", ")
	}
	wrong := g.options.invalid("base", "is required: %s is dynamically linked and needs %s, which an empty image does not have", g.main(), needs)
	if !g.source.CGO {
		return wrong.WithHint("set base to an image with a dynamic linker, or take -buildmode out of GOFLAGS")
	}
	return wrong.WithHint(`set base to an image with a C library no older than this machine's, NAME@sha256:…, or link statically: ldflags: ["-linkmode=external", "-extldflags=-static"]; tags: [netgo, osusergo] keep net and os/user out of C`)
}
