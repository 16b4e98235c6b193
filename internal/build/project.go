package build

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/pkg/protocol"
)

// projectSource is a Dockerfile of the project with a folder of it.
type projectSource struct {
	context Context
	root    string
	memory  string
	digests map[string]*inputs.Digests // by folder
}

func openProject(app protocol.AppSpec, memory string) (*projectSource, error) {
	d := *app.Image.Dockerfile
	name := cmp.Or(d.Path, filepath.Join(d.Context, "Dockerfile"))
	s := &projectSource{root: app.ProjectRoot, memory: memory, digests: map[string]*inputs.Digests{}}
	s.context = Context{
		Name: name, Dockerfile: filepath.Join(app.ProjectRoot, name), Dir: filepath.Join(app.ProjectRoot, d.Context),
		Target: d.Target, Args: d.Args,
	}
	for name, value := range d.Contexts {
		if s.context.Contexts == nil {
			s.context.Contexts = map[string]string{}
		}
		if !strings.HasPrefix(value, "docker-image:") {
			value = filepath.Join(app.ProjectRoot, value)
		}
		s.context.Contexts[strings.ToLower(name)] = value
	}
	return s, s.references(d)
}

// references sets what RUN can mount, and reads none of it.
func (s *projectSource) references(d protocol.Dockerfile) error {
	for _, id := range slices.Sorted(maps.Keys(d.Secrets)) {
		at, err := s.reference("secrets", id, d.Secrets[id])
		if err != nil {
			return err
		}
		s.context.Secrets = append(s.context.Secrets, dockerfile.Secret{ID: id, Env: at.Env, File: at.File})
	}
	for _, id := range slices.Sorted(maps.Keys(d.SSH)) {
		at, err := s.reference("ssh", id, d.SSH[id])
		if err != nil {
			return err
		}
		if at.Env != "" {
			at.File = os.Getenv(at.Env)
		}
		if at.File == "" {
			return protocol.Invalid("dockerfile.ssh.%s: the variable %s is not set", id, at.Env)
		}
		s.context.SSH = append(s.context.SSH, dockerfile.SSH{ID: id, Paths: []string{at.File}})
	}
	return nil
}

func (s *projectSource) reference(field, id, text string) (protocol.Reference, error) {
	at, err := protocol.ParseReference(text)
	if err != nil {
		return at, protocol.Invalid("dockerfile.%s.%s %w", field, id, err)
	}
	if at.File != "" && !filepath.IsAbs(at.File) {
		at.File = filepath.Join(s.root, at.File)
	}
	if err := s.permit(at); err != nil {
		return at, protocol.Invalid("dockerfile.%s.%s: %w", field, id, err)
	}
	return at, nil
}

// Inputs implements [buildable.Source]. The files are those of files.
func (s *projectSource) Inputs(context.Context) (Context, []inputs.Item, error) {
	if err := s.inside(s.context.Dockerfile, s.context.Dir); err != nil {
		return Context{}, nil, err
	}
	var err error
	s.context.Text, err = dockerfile.Read(s.context.Dockerfile, s.context.Name)
	return s.context, nil, err
}

// inside refuses paths that lead out of the project by symbolic links. A missing path
// is reported when it is opened.
func (s *projectSource) inside(paths ...string) error {
	root, err := filepath.EvalSymlinks(s.root)
	if err != nil {
		return protocol.Invalid("project root: %w", err)
	}
	for _, path := range paths {
		real, err := filepath.EvalSymlinks(path)
		if err != nil {
			continue
		}
		if rel, err := filepath.Rel(root, real); err != nil || !filepath.IsLocal(rel) {
			return protocol.Invalid("%s is a symbolic link to %s, which leads out of the project", path, real)
		}
	}
	return nil
}

// files are those that are taken of the context and of the named ones.
func (s *projectSource) files(ctx context.Context, takes map[string][]dockerfile.Take) ([]inputs.Item, error) {
	folder, err := s.context.Open()
	if err != nil {
		return nil, err
	}
	items, err := s.list(ctx, inputs.File, s.context.Dir, folder, takes[""])
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.context.Contexts)) {
		dir := s.context.Contexts[name]
		if !filepath.IsAbs(dir) {
			continue
		}
		if err := s.inside(dir); err != nil {
			return nil, err
		}
		if folder, err = dockerfile.OpenFolder(dir, ""); err != nil {
			return nil, err
		}
		more, err := s.list(ctx, "file of the context "+name+":", dir, folder, takes[name])
		if err != nil {
			return nil, err
		}
		items = append(items, more...)
	}
	return items, nil
}

// list lists what is taken of a folder and closes it.
func (s *projectSource) list(ctx context.Context, kind, dir string, folder *dockerfile.Folder, takes []dockerfile.Take) ([]inputs.Item, error) {
	defer folder.Close()
	digests, ok := s.digests[dir]
	if !ok {
		digests = inputs.OpenDigests(filepath.Join(s.memory, "context-"+digest.FromString(dir).Encoded()[:32]+".digests"))
		s.digests[dir] = digests
	}
	entries, err := folder.Taken(ctx, takes)
	if err != nil {
		return nil, err
	}
	items := make([]inputs.Item, len(entries))
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(entries) {
					return nil
				}
				value, err := entries[i].Value(digests)
				if err := errors.Join(err, ctx.Err()); err != nil {
					return err
				}
				items[i] = inputs.Item{Kind: kind, Name: entries[i].Name, Value: value, Path: entries[i].Host}
			}
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	digests.Save()
	return items, nil
}

// Context implements [buildable.Source]: there is nothing to write.
func (s *projectSource) Context(context.Context, string) (Context, error) { return s.context, nil }
