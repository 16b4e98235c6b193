package buildable

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/pkg/protocol"
)

// survey is what is known about a package without compiling it.
type survey struct {
	Items []inputs.Item `json:"items"` // those of Inputs
	Name  string        `json:"name"`  // of the program
}

// goEnv is the output of `go env -json`.
type goEnv struct {
	GOROOT, GOVERSION, GOENV, GOFLAGS, GOWORK, GOMODCACHE, GOEXPERIMENT, GOFIPS140 string
}

// goPackage is the output of `go list -json`.
type goPackage struct {
	Dir, ImportPath, Name string
	Standard              bool
	Module                *goModule
	Deps                  []string // of all packages below

	GoFiles, CgoFiles, CFiles, CXXFiles, MFiles, HFiles, FFiles, SFiles []string
	SwigFiles, SwigCXXFiles, SysoFiles, EmbedFiles, EmbedPatterns       []string
	IgnoredGoFiles, IgnoredOtherFiles                                   []string
}

const listFields = "Dir,ImportPath,Name,Standard,Module,Deps,GoFiles,CgoFiles,CFiles,CXXFiles,MFiles,HFiles,FFiles,SFiles," +
	"SwigFiles,SwigCXXFiles,SysoFiles,EmbedFiles,EmbedPatterns,IgnoredGoFiles,IgnoredOtherFiles"

type goModule struct {
	Path, Version, Dir, GoMod string
	Replace                   *goModule
}

func (p goPackage) compiled() []string {
	return slices.Concat(p.GoFiles, p.CgoFiles, p.CFiles, p.CXXFiles, p.MFiles, p.HFiles, p.FFiles, p.SFiles,
		p.SwigFiles, p.SwigCXXFiles, p.SysoFiles, p.EmbedFiles)
}

// surveyor asks the go command what a program is made from. Everything it reads goes
// into the notes; what affects the result goes into items.
type surveyor struct {
	*golang
	notes *inputs.Trace
	env   goEnv
	items map[inputs.Item]bool
	seen  map[string]bool
	// traceable is false where an unchanged trace would prove nothing.
	traceable bool
}

func (s *surveyor) run(ctx context.Context) (survey, error) {
	s.seen, s.items = map[string]bool{}, map[inputs.Item]bool{}
	s.item("harmony's", "certificates and users", baseDigest())
	s.item(inputs.Setting, "go", s.fixed())
	if err := s.toolchain(ctx); err != nil {
		return survey{}, err
	}
	var main goPackage
	for _, p := range s.options.Platforms {
		packages, err := s.list(ctx, p)
		if err != nil {
			return survey{}, err
		}
		main = packages[len(packages)-1]
		if main.Name != "main" {
			return survey{}, protocol.Invalid("buildable go: %s is package %s, not a program (package main)", s.main(), main.Name)
		}
		for _, pkg := range packages {
			if err := s.goPackage(ctx, pkg); err != nil {
				return survey{}, err
			}
		}
	}
	// The compiler takes a profile from the folder of the main package.
	err := s.optional(inputs.File, "", filepath.Join(main.Dir, "default.pgo"))
	if err == nil {
		err = s.workspace(ctx)
	}
	if err != nil {
		return survey{}, err
	}
	items := slices.SortedFunc(maps.Keys(s.items), func(a, b inputs.Item) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value))
	})
	return survey{Items: items, Name: programName(main.ImportPath)}, nil
}

// item notes something that affects the result.
func (s *surveyor) item(kind, name, value string) {
	s.items[inputs.Item{Kind: kind, Name: name, Value: value}] = true
}

// fileItem is item for one that is a file.
func (s *surveyor) fileItem(kind, name, digest, path string) {
	s.items[inputs.Item{Kind: kind, Name: name, Value: digest, Path: path}] = true
}

// once reports whether the path is new to this survey.
func (s *surveyor) once(path string) bool {
	known := s.seen[path]
	s.seen[path] = true
	return !known
}

// toolchain notes the go command and what chooses its version.
func (s *surveyor) toolchain(ctx context.Context) error {
	out, err := s.ask(ctx, s.options.Platforms[0], "env", "-json", "GOROOT", "GOVERSION", "GOENV", "GOFLAGS", "GOWORK", "GOMODCACHE", "GOEXPERIMENT", "GOFIPS140")
	if err != nil {
		return fmt.Errorf("ask for the go command's settings: %w", err)
	}
	if err := json.Unmarshal(out, &s.env); err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	s.item("toolchain", "go", fmt.Sprintf("%s experiment %q fips %q", s.env.GOVERSION, s.env.GOEXPERIMENT, s.env.GOFIPS140))
	// A wrapper of a version manager chooses by files that are not known here.
	command, err := filepath.EvalSymlinks(filepath.Join(s.env.GOROOT, "bin", "go"))
	switched := strings.HasPrefix(s.env.GOROOT, filepath.Join(s.env.GOMODCACHE, "golang.org", "toolchain@"))
	s.traceable = switched || err == nil && command == s.command
	files := []string{s.command, filepath.Join(s.env.GOROOT, "VERSION"), filepath.Join(s.env.GOROOT, "go.env")}
	if s.env.GOENV != "off" && s.env.GOENV != "" {
		files = append(files, s.env.GOENV)
	}
	if err := s.optional("", "", files...); err != nil {
		return err
	}
	if err := s.goFlags(); err != nil {
		return err
	}
	return s.compilers(ctx)
}

// optional notes files that may be absent. If kind is not empty those that are there
// are items, under the prefix and their base name.
func (s *surveyor) optional(kind, prefix string, paths ...string) error {
	for _, path := range paths {
		exists, err := s.notes.Exists(path)
		if err != nil {
			return err
		}
		if !exists {
			continue
		}
		digest, err := s.file(path)
		if err != nil {
			return err
		}
		if kind != "" {
			s.fileItem(kind, prefix+filepath.Base(path), digest, path)
		}
	}
	return nil
}

// list returns the packages of the program, the main package last.
func (s *surveyor) list(ctx context.Context, p ocispec.Platform) ([]goPackage, error) {
	if packages := s.options.Together.list(ctx, s.golang, p); len(packages) > 0 {
		return packages, nil
	}
	target, err := s.target()
	if err != nil {
		return nil, err
	}
	packages, err := s.listPackages(ctx, p, target)
	if err != nil {
		return nil, fmt.Errorf("list the packages of %s: %w", s.main(), err)
	}
	if len(packages) == 0 {
		return nil, fmt.Errorf("go list names no package for %s", s.main())
	}
	return packages, nil
}

// listPackages are the packages of programs: each after those that it imports. They do not
// depend on the profiles of the programs.
func (g *golang) listPackages(ctx context.Context, p ocispec.Platform, programs ...string) ([]goPackage, error) {
	out, err := g.onPackages(ctx, p, programs, "list", "-deps", "-pgo=off", "-json="+listFields)
	if err != nil {
		return nil, err
	}
	var packages []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg goPackage
		err := d.Decode(&pkg)
		if errors.Is(err, io.EOF) {
			return packages, nil
		}
		if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		packages = append(packages, pkg)
	}
}

// goPackage notes the files of a package that is not pinned by a version.
func (s *surveyor) goPackage(ctx context.Context, p goPackage) error {
	switch {
	case p.Standard:
		return nil
	case p.Module != nil && s.pinned(p.Dir):
		m := p.Module
		if m.Replace != nil {
			m = m.Replace
		}
		s.item("module", p.Module.Path, m.Path+" "+m.Version)
		return nil
	}
	for _, name := range p.compiled() {
		digest, err := s.file(filepath.Join(p.Dir, name))
		if err != nil {
			return err
		}
		s.fileItem(inputs.File, p.ImportPath+"/"+name, digest, filepath.Join(p.Dir, name))
	}
	for _, name := range slices.Concat(p.IgnoredGoFiles, p.IgnoredOtherFiles) {
		if _, err := s.file(filepath.Join(p.Dir, name)); err != nil {
			return err
		}
	}
	for _, pattern := range p.EmbedPatterns {
		if err := s.embedded(p.Dir, pattern); err != nil {
			return err
		}
	}
	return s.location(ctx, p)
}

func (s *surveyor) pinned(dir string) bool {
	return s.env.GOMODCACHE != "" && strings.HasPrefix(dir, s.env.GOMODCACHE+string(filepath.Separator))
}

func (s *surveyor) file(path string) (string, error) { return s.notes.File(s.digests, path) }

// location notes the folders from the package up to its module, where a new
// file would be a part of the package and a new go.mod would cut it off, and
// the module itself.
func (s *surveyor) location(ctx context.Context, p goPackage) error {
	root := p.Dir
	if p.Module != nil && p.Module.GoMod != "" {
		root = filepath.Dir(p.Module.GoMod)
	}
	for dir := p.Dir; ; dir = filepath.Dir(dir) {
		if s.once("folder " + dir) {
			if err := s.notes.Folder(dir); err != nil {
				return err
			}
		}
		if dir == root || !strings.HasPrefix(dir, root) {
			break
		}
	}
	if p.Module == nil || p.Module.GoMod == "" || s.pinned(p.Module.GoMod) {
		return nil
	}
	return s.module(ctx, p.Module.Path, p.Module.GoMod)
}

// embedded notes the folders in which a new file could match an embed pattern.
func (s *surveyor) embedded(dir, pattern string) error {
	pattern = strings.TrimPrefix(pattern, "all:")
	fixed := pattern
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		fixed = path.Dir(pattern[:i] + "x")
	}
	top := filepath.Join(dir, filepath.FromSlash(fixed))
	if !s.once("embed " + top) {
		return nil
	}
	return filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && s.once("folder "+path) {
			return s.notes.Folder(path)
		}
		return nil
	})
}

var versionSuffix = regexp.MustCompile(`^v[0-9]+$`)

// programName is what `go install` would call the program.
func programName(importPath string) string {
	name := path.Base(importPath)
	if parent := path.Base(path.Dir(importPath)); versionSuffix.MatchString(name) && parent != "." && parent != "/" {
		name = parent
	}
	return name
}
