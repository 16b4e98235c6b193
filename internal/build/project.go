package build

import (
	"cmp"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
	if err := checkLocal(app, d.Path, d.Context); err != nil {
		return nil, err
	}
	name := cmp.Or(d.Path, filepath.Join(d.Context, "Dockerfile"))
	s := &projectSource{root: app.ProjectRoot, memory: memory, digests: map[string]*inputs.Digests{}}
	s.context = Context{
		Name: name, Dockerfile: filepath.Join(app.ProjectRoot, name), Dir: filepath.Join(app.ProjectRoot, d.Context),
		Target: d.Target, Args: d.Args,
	}
	if err := s.contexts(app, d.Contexts); err != nil {
		return nil, err
	}
	return s, s.references(d)
}

// checkLocal holds the source inside of the project.
func checkLocal(app protocol.AppSpec, paths ...string) error {
	for _, path := range paths {
		if path != "" && !filepath.IsLocal(path) {
			return protocol.Invalid("%s: image: the path %q leads out of the project", app.Name, path)
		}
	}
	return nil
}

// contexts sets the named contexts, whose folders become absolute.
func (s *projectSource) contexts(app protocol.AppSpec, named map[string]string) error {
	for name, value := range named {
		if s.context.Contexts == nil {
			s.context.Contexts = map[string]string{}
		}
		if !strings.HasPrefix(value, "docker-image:") {
			if err := checkLocal(app, value); err != nil {
				return err
			}
			value = filepath.Join(app.ProjectRoot, value)
		}
		s.context.Contexts[strings.ToLower(name)] = value
	}
	return nil
}

// references sets what RUN can mount. Nothing of it is read here.
func (s *projectSource) references(d protocol.Dockerfile) error {
	for _, id := range slices.Sorted(maps.Keys(d.Secrets)) {
		at, err := s.reference("secrets", id, d.Secrets[id])
		if err != nil {
			return err
		}
		s.context.Secrets = append(s.context.Secrets, Secret{ID: id, Env: at.Env, File: at.File})
	}
	for _, id := range slices.Sorted(maps.Keys(d.SSH)) {
		at, err := s.reference("ssh", id, d.SSH[id])
		if err != nil {
			return err
		}
		ssh := SSH{ID: id}
		if at.Env != "" {
			at.File = os.Getenv(at.Env)
		}
		if at.File == "" {
			return protocol.Invalid("dockerfile.ssh.%s: the variable %s is not set", id, at.Env)
		}
		ssh.Paths = []string{at.File}
		s.context.SSH = append(s.context.SSH, ssh)
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

// Dockerfile implements [Source].
func (s *projectSource) Dockerfile(context.Context) (Context, error) {
	if err := s.inside(s.context.Dockerfile, s.context.Dir); err != nil {
		return Context{}, err
	}
	var err error
	s.context.Text, err = dockerfile.Read(s.context.Dockerfile, s.context.Name)
	return s.context, err
}

// inside refuses paths that lead out of the project by symbolic links. A path
// that is not there is told by whoever opens it.
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

// Items implements [Source]: the files that are taken of the context and of the
// named ones.
func (s *projectSource) Items(ctx context.Context, takes map[string][]dockerfile.Take) ([]inputs.Item, error) {
	folder, err := s.context.Open()
	if err != nil {
		return nil, err
	}
	items, err := s.files(ctx, inputs.File, s.context.Dir, folder, takes[""])
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
		more, err := s.files(ctx, "file of the context "+name+":", dir, folder, takes[name])
		if err != nil {
			return nil, err
		}
		items = append(items, more...)
	}
	return items, nil
}

// files lists what is taken of a folder and closes it.
func (s *projectSource) files(ctx context.Context, kind, dir string, folder *dockerfile.Folder, takes []dockerfile.Take) ([]inputs.Item, error) {
	defer folder.Close()
	digests, ok := s.digests[dir]
	if !ok {
		digests = inputs.OpenDigests(filepath.Join(s.memory, "context-"+shortDigest(dir)+".digests"))
		s.digests[dir] = digests
	}
	items, err := listFiles(ctx, kind, folder, takes, digests)
	if err != nil {
		return nil, err
	}
	digests.Save()
	return items, nil
}

// Context implements [Source]: there is nothing to write.
func (s *projectSource) Context(context.Context, string) (Context, error) { return s.context, nil }
