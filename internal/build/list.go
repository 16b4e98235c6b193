package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/base"
	"github.com/nationtech/harmony/internal/build/buildable"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Lister lists what images are made from, without a builder. It is safe for use by several
// goroutines.
type Lister struct{ builder *builder }

// NewLister makes a Lister that keeps what it remembers of inputs in the folder memory. It
// looks up each base image once, for its configuration can say what is copied; env.Cache
// has those that were read before. When one cannot be read, warn is told, and all of the
// context counts as copied.
func NewLister(env capability.Environment, memory string, warn func(string)) *Lister {
	bases := Bases(env)
	env.Cache, env.DryRun, env.Progress = memory, true, func(protocol.Event) {}
	return &Lister{&builder{
		env: env, bases: bases, created: time.Unix(0, 0).UTC(), unstamped: true,
		backend: &listing{bases: bases, warn: warn, known: map[string]*known{}},
	}}
}

// Together is the Lister for the images of all the apps, in folders that do not change while
// it is used: much is then looked up once for all.
func (l *Lister) Together(apps []protocol.AppSpec) *Lister {
	b := *l.builder
	b.together = buildable.NewTogether(apps)
	return &Lister{&b}
}

// Items are what the image of the app is made from, as it would be now. Paths are the
// files and folders that were read for it, as far as they are known. Both are there, too,
// with the error that a file to be copied is not.
func (l *Lister) Items(ctx context.Context, app protocol.AppSpec) (items []inputs.Item, paths []string, err error) {
	if app.Image.Ref != "" || app.Image.IsNone() {
		return nil, nil, nil // it is in the AppSpec; nothing makes it
	}
	if d := app.Image.Dockerfile; d != nil {
		// Their values are no part of the input, and need not be here.
		without := *d
		without.Secrets, without.SSH = nil, nil
		app.Image.Dockerfile = &without
	}
	j, err := l.builder.open(app)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, j.close()) }()
	in, err := j.look(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, item := range in.items {
		paths = append(paths, item.Path)
	}
	paths = append(paths, ignoreFiles(app, in)...)
	return in.items, slices.DeleteFunc(paths, func(path string) bool { return !filepath.IsAbs(path) }), whole(ctx, app, in)
}

// ignoreFiles are the paths of what may say which files of a folder do not count.
func ignoreFiles(app protocol.AppSpec, in input) []string {
	if app.Image.Dockerfile != nil {
		return []string{in.context.Dockerfile + ".dockerignore", filepath.Join(in.context.Dir, ".dockerignore")}
	}
	var paths []string
	b := app.Image.Buildable
	for _, folder := range append(slices.Sorted(maps.Keys(b.Files)), b.Folder) {
		paths = append(paths, filepath.Join(app.ProjectRoot, folder, ".dockerignore"))
	}
	return paths
}

// whole is an error if a Dockerfile copies a file that is not there. The builder would
// say so; here it may be one that something else makes before the build.
func whole(ctx context.Context, app protocol.AppSpec, in input) error {
	if app.Image.Dockerfile == nil {
		return nil
	}
	folder, err := in.context.Open()
	if err != nil {
		return err
	}
	defer folder.Close()
	for _, take := range in.takes {
		if _, err := folder.Find(ctx, take); errors.Is(err, fs.ErrNotExist) {
			return protocol.Invalid("%s: %w", take.Place, err)
		}
	}
	return nil
}

// listing is a Backend that builds nothing.
type listing struct {
	bases base.Registry
	warn  func(string)

	mu    sync.Mutex
	known map[string]*known
}

// known is what is known of a base image.
type known struct {
	once sync.Once
	sum  digest.Digest
	base *dockerfile.Base
}

// Options implements [Backend].
func (l *listing) Options() map[string]string { return nil }

// Check implements [Backend].
func (l *listing) Check(context.Context, Request) error { return nil }

// Find implements [Backend].
func (l *listing) Find(context.Context, Request) (protocol.ImageRef, bool, error) {
	return protocol.ImageRef{}, false, nil
}

// Build implements [Backend].
func (l *listing) Build(context.Context, Request, protocol.ImageRef) (protocol.ImageRef, error) {
	return protocol.ImageRef{}, errors.ErrUnsupported
}

// FindBase implements [BaseFinder]: each image is looked up once.
func (l *listing) FindBase(ctx context.Context, name string) (digest.Digest, *dockerfile.Base, error) {
	l.mu.Lock()
	k, ok := l.known[name]
	if !ok {
		k = &known{}
		l.known[name] = k
	}
	l.mu.Unlock()
	k.once.Do(func() { k.sum, k.base = l.look(ctx, name) })
	return k.sum, k.base, ctx.Err()
}

func (l *listing) look(ctx context.Context, name string) (digest.Digest, *dockerfile.Base) {
	sum, err := l.bases.Digest(ctx, name)
	var image *base.Image
	if err == nil {
		image, err = l.bases.Resolve(ctx, name, sum, ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH})
	}
	if err == nil {
		return sum, &dockerfile.Base{Env: image.Config.Config.Env, OnBuild: image.Config.Config.OnBuild}
	}
	if ctx.Err() == nil {
		l.warn(fmt.Sprintf("the base image %s cannot be read, so every file of a context that is built on it counts: %v", name, err))
	}
	return "", &dockerfile.Base{OnBuild: []string{"COPY / /"}}
}
