package buildable

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Together lets the sources of many apps share what the go command answers: it is started
// once for all programs of a module. Nothing may change in the folders of the apps while it
// is used. It is safe for use by several goroutines.
type Together struct {
	// programs are the packages that are asked for together, by module and settings.
	programs map[string][]string
	digests  *inputs.Digests

	mu      sync.Mutex
	replies map[string]*reply
}

// reply is one of the go command.
type reply struct {
	once     sync.Once
	out      []byte
	packages []goPackage
	err      error
}

// NewTogether is for the sources of the apps.
func NewTogether(apps []protocol.AppSpec) *Together {
	t := &Together{programs: map[string][]string{}, digests: inputs.OpenDigests(""), replies: map[string]*reply{}}
	for _, app := range apps {
		for _, one := range app.ForEachImage() {
			if b := one.Image.Buildable; b != nil && b.Type == typeGo {
				t.expect(&golang{source: *b, root: app.ProjectRoot})
			}
		}
	}
	return t
}

func (t *Together) expect(g *golang) {
	target, err := g.target()
	if key := g.settings(); err == nil && !slices.Contains(t.programs[key], target) {
		t.programs[key] = append(t.programs[key], target)
	}
}

// settings are those that programs must have in common to be listed together.
func (g *golang) settings() string {
	return fmt.Sprintf("%q tags %q cgo %t", g.directory(), g.source.Tags, g.source.CGO)
}

// lookTogether is look where nothing changes meanwhile, and nothing is remembered.
func (g *golang) lookTogether(ctx context.Context) (err error) {
	g.digests = g.options.Together.digests
	s := surveyor{golang: g, notes: &inputs.Trace{}}
	g.survey, err = s.run(ctx)
	return err
}

// ask runs the go command, or takes the answer that it gave another source.
func (g *golang) ask(ctx context.Context, p ocispec.Platform, args ...string) ([]byte, error) {
	t := g.options.Together
	if t == nil {
		return g.run(ctx, p, args...)
	}
	a := t.reply(fmt.Sprintf("%s %s %q", g.settings(), ocilayout.PlatformString(p), args))
	a.once.Do(func() { a.out, a.err = g.run(ctx, p, args...) })
	return a.out, a.err
}

func (t *Together) reply(question string) *reply {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, ok := t.replies[question]
	if !ok {
		a = &reply{}
		t.replies[question] = a
	}
	return a
}

// list is the packages of g's program, the main package last; none where g has to ask by
// itself: one invalid program among many fails the list of all.
func (t *Together) list(ctx context.Context, g *golang, p ocispec.Platform) []goPackage {
	if t == nil || len(t.programs[g.settings()]) < 2 {
		return nil
	}
	a := t.reply("list " + g.settings() + " " + ocilayout.PlatformString(p))
	a.once.Do(func() { a.packages, a.err = g.listPackages(ctx, p, t.programs[g.settings()]...) })
	main := slices.IndexFunc(a.packages, func(pkg goPackage) bool { return pkg.Dir == filepath.Clean(g.folder()) })
	if a.err != nil || main < 0 {
		return nil
	}
	needed := map[string]bool{}
	for _, path := range a.packages[main].Deps {
		needed[path] = true
	}
	var packages []goPackage
	for _, pkg := range a.packages {
		if needed[pkg.ImportPath] {
			packages = append(packages, pkg)
		}
	}
	return append(packages, a.packages[main])
}
