package buildable

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/cli/process"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// format is part of every input digest. It must change with anything that makes a
// different image of the same input.
const format = "go 3"

// golang compiles a Go main package and puts it on a base image or an empty one.
type golang struct {
	options Options
	source  protocol.Buildable
	root    string // the project's folder

	command string   // the go command, absolute
	ldflags []string // expanded
	files   []addition
	survey  survey
	digests *inputs.Digests
	notes   *inputs.Trace // of the survey
	trace   *inputs.Trace // the notes; nil where they prove nothing
	ahead   *ahead        // nil when nothing is compiled ahead
}

func openGo(o Options) (Source, error) {
	if err := o.fields("main", "ldflags", "tags", "cgo", "base", "files", "workingDir", "env", "entrypoint", "user", "sbom"); err != nil {
		return nil, err
	}
	for _, check := range []func() error{o.checkLDFlags, o.checkWords, o.checkCGO, o.checkUser} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	source := *o.App.Image.Buildable
	if source.Base == scratch {
		source.Base = ""
	}
	return &golang{options: o, source: source, root: o.App.ProjectRoot}, nil
}

// Inputs implements [Source]: sources, module versions, toolchain, flags and files.
// When nothing changed since the last time the go command is not started.
func (g *golang) Inputs(ctx context.Context) (dockerfile.Context, []inputs.Item, error) {
	err := g.options.checkBase(ctx)
	if err == nil {
		g.ldflags, err = g.options.expand(ctx)
	}
	if err == nil {
		err = g.look(ctx)
	}
	var files []inputs.Item
	if err == nil {
		files, err = g.addFiles(ctx)
	}
	if err != nil {
		return dockerfile.Context{}, nil, err
	}
	g.digests.Save()
	settings := []inputs.Item{{Kind: inputs.Setting, Name: "ldflags", Value: fmt.Sprintf("%q", g.ldflags)}}
	if g.source.SBOM {
		settings = append(settings, inputs.Item{Kind: inputs.Setting, Name: "sbom", Value: sbomFormat})
	}
	return g.dockerfile(), slices.Concat(g.survey.Items, files, settings), nil
}

// look brings the survey up to date.
func (g *golang) look(ctx context.Context) error {
	if g.trace != nil && g.trace.Holds(g.digests) {
		return nil
	}
	if err := g.locate(); err != nil {
		return err
	}
	if g.options.Together != nil {
		return g.lookTogether(ctx)
	}
	path := filepath.Join(g.options.Memory, "go-"+g.key()[:32])
	g.digests = inputs.OpenDigests(path + ".digests")
	trace, err := inputs.LoadTrace(path + ".trace")
	var known survey
	if err == nil && json.Unmarshal([]byte(trace.Answer), &known) == nil && known.Name != "" && len(known.Items) > 0 && trace.Holds(g.digests) {
		g.survey, g.trace = known, trace
		return nil
	}
	if err == nil && g.notes == nil && !g.options.DryRun {
		// It was built before and changed since.
		if err := g.startAhead(ctx, trace); err != nil {
			return err
		}
	}
	start := time.Now()
	s := surveyor{golang: g, notes: &inputs.Trace{}}
	if g.survey, err = s.run(ctx); err != nil {
		return err
	}
	g.notes, g.trace = s.notes, nil
	if !s.traceable || !s.notes.SettledBefore(start) {
		return nil
	}
	text, err := json.Marshal(g.survey)
	if err != nil {
		return err
	}
	g.trace = s.notes
	g.trace.Answer = string(text)
	return g.trace.Save(path + ".trace")
}

// dockerfile is the program and the files over the base.
func (g *golang) dockerfile() dockerfile.Context {
	w := newWriter("buildable go: " + g.main())
	program := g.program()
	search := defaultPath
	if g.source.Base == "" {
		w.base()
	} else {
		w.line("FROM %s", g.source.Base)
		search = "${PATH:-" + defaultPath + "}"
	}
	for i, file := range g.files {
		w.line("COPY %s", jsonList([]string{file.source(i), file.to}))
	}
	w.program(g.options.Platforms, program)
	w.line("ENV PATH=%s:%s", search, path.Dir(program))
	for _, name := range slices.Sorted(maps.Keys(g.source.Env)) {
		w.line("ENV %s=%s", name, quote(g.source.Env[name]))
	}
	w.run(cmp.Or(g.source.WorkingDir, "/"), cmp.Or(g.source.User, nonroot), program)
	return w.context()
}

// program is the path of the program in the image.
func (g *golang) program() string {
	if path.IsAbs(g.source.Entrypoint) {
		return g.source.Entrypoint
	}
	return "/app/" + cmp.Or(g.source.Entrypoint, g.survey.Name)
}

// Context implements [Source]: the program is compiled for each platform.
func (g *golang) Context(ctx context.Context, dir string) (dockerfile.Context, error) {
	if g.source.Base == "" {
		if err := writeBase(ctx, dir, g.options.Created); err != nil {
			return dockerfile.Context{}, err
		}
	}
	if err := g.writeFiles(ctx, dir); err != nil {
		return dockerfile.Context{}, err
	}
	c := g.dockerfile()
	for _, p := range g.options.Platforms {
		name := ocilayout.PlatformString(p)
		g.options.progress("compile", fmt.Sprintf("%s for %s", g.main(), name))
		if err := writeProgram(dir, p, func(binary string) error { return g.compiled(ctx, p, binary) }); err != nil {
			return dockerfile.Context{}, err
		}
		if !g.source.SBOM {
			continue
		}
		list, err := g.sbom(filepath.Join(dir, programFolder, platformName(p)))
		if err != nil {
			return dockerfile.Context{}, err
		}
		c.SBOMs = append(c.SBOMs, dockerfile.SBOM{Platform: name, SPDX: list})
	}
	return writeDockerfile(dir, c)
}

// locate finds the go command and the folder of the package.
func (g *golang) locate() error {
	if info, err := os.Stat(g.folder()); err != nil || !info.IsDir() {
		return protocol.Invalid("buildable go: main: %s is not a folder in %s", g.main(), g.root)
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
func (g *golang) main() string {
	return "./" + filepath.ToSlash(filepath.Clean(cmp.Or(g.source.Main, ".")))
}

func (g *golang) folder() string { return filepath.Join(g.root, g.source.Main) }

// directory is where the go command runs: the root, or the folder of a module
// below it that has the package.
func (g *golang) directory() string {
	for dir := g.folder(); dir != g.root && strings.HasPrefix(dir, g.root); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	return g.root
}

// key identifies what is built, and in what environment, on this machine.
func (g *golang) key() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %q\n", format, g.command, g.root, g.fixed(), baseDigest())
	for _, variable := range slices.Sorted(slices.Values(os.Environ())) {
		name, _, _ := strings.Cut(variable, "=")
		// HOME and XDG_CONFIG_HOME lead to the file of `go env -w`.
		if strings.HasPrefix(name, "GO") || name == "HOME" || name == "XDG_CONFIG_HOME" || g.source.CGO && ofCompiler(name) {
			fmt.Fprintf(h, "%q\n", variable)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// fixed is the part of the input that does not depend on files.
func (g *golang) fixed() string {
	return fmt.Sprintf("%s created %d platforms %q main %q tags %q cgo %t",
		format, g.options.Created.Unix(), ocilayout.PlatformStrings(g.options.Platforms), g.main(), g.source.Tags, g.source.CGO)
}

// environment is that of the go command for a platform: the user's own, with the
// settings by which private modules are fetched (GOPRIVATE, GOAUTH, NETRC, SSH_AUTH_SOCK,
// GIT_CONFIG_…). Of a variable given twice the last one counts.
func environment(p ocispec.Platform) []string {
	env := append(process.Environ(),
		"GO111MODULE=on", "CGO_ENABLED=0", "GOOS="+p.OS, "GOARCH="+p.Architecture,
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

// target is the package as the go command takes it in the folder where it runs.
func (g *golang) target() (string, error) {
	target, err := filepath.Rel(g.directory(), g.folder())
	return "./" + filepath.ToSlash(target), err
}

// onPackages runs go list or go build, with flags, on packages.
func (g *golang) onPackages(ctx context.Context, p ocispec.Platform, packages []string, args ...string) ([]byte, error) {
	args = append(args, "-trimpath", "-buildvcs=false")
	if len(g.source.Tags) > 0 {
		args = append(args, "-tags="+strings.Join(g.source.Tags, ","))
	}
	out, err := g.run(ctx, p, append(args, packages...)...)
	return out, explain(err)
}

// run runs the go command in the folder of the module.
func (g *golang) run(ctx context.Context, p ocispec.Platform, args ...string) ([]byte, error) {
	env := environment(p)
	if g.source.CGO {
		env = append(env, "CGO_ENABLED=1")
	}
	return process.Output(ctx, process.Command{
		Args: append([]string{g.command}, args...), Dir: g.directory(), Env: env,
	})
}

// compile compiles the package for a platform into the file. The symbol table
// and debug information are left out, which a later -s=false or -w=false in the
// app's ldflags undoes.
func (g *golang) compile(ctx context.Context, p ocispec.Platform, binary string) error {
	target, err := g.target()
	if err != nil {
		return err
	}
	ldflags := strings.Join(append([]string{"-s -w"}, g.ldflags...), " ")
	if _, err := g.onPackages(ctx, p, []string{target}, "build", "-ldflags="+ldflags, "-o", binary); err != nil {
		return fmt.Errorf("compile %s for %s: %w", g.main(), ocilayout.PlatformString(p), err)
	}
	if g.source.Base == "" {
		return g.checkStatic(binary)
	}
	return nil
}
