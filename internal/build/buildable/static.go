package buildable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/build/inputs"
)

// staticSettings are image.buildable.settings of static.
type staticSettings struct {
	// Port that the server listens on; 8080 when absent.
	Port int `json:"port"`
	// SPA answers with index.html for a missing path without an extension.
	SPA bool `json:"spa"`
	// NotFound is the page for status 404; 404.html when absent, if it exists.
	NotFound string `json:"notFound"`
	// Immutable are folders of files that never change under their names, which
	// a browser may keep for good.
	Immutable []string `json:"immutable"`
	// Gzip puts compressed variants next to the files; true when absent.
	Gzip *bool `json:"gzip"`
	// GoImage is the image in which the server is compiled, even where there is a
	// go command.
	GoImage string `json:"goImage"`
}

type static struct {
	options  Options
	settings staticSettings
	server   server
	digests  *inputs.Digests
	files    []siteFile
}

type siteFile struct {
	name, host, digest string
	size               int64
}

func openStatic(o Options) (Source, error) {
	s := &static{options: o, settings: staticSettings{Port: 8080}}
	if err := o.fields("folder", "settings"); err != nil {
		return nil, err
	}
	if err := o.settings(&s.settings); err != nil {
		return nil, err
	}
	if err := s.validate(); err != nil {
		return nil, err
	}
	s.server = server{image: s.settings.GoImage, platforms: o.Platforms}
	s.digests = inputs.OpenDigests(filepath.Join(o.Memory, "static.digests"))
	return s, nil
}

func (s *static) validate() error {
	switch port := s.settings.Port; {
	case s.options.App.Image.Buildable.Folder == "":
		return s.options.invalid("folder", "is required: the folder to serve, for example public")
	case port < 1024 || port > 65535:
		return s.options.invalid("settings.port", "%d is not in 1024 to 65535, where nonroot can listen", port)
	case strings.ContainsAny(s.settings.GoImage, " \t\r\n\\$"):
		return s.options.invalid("settings.goImage", "%q is not an image", s.settings.GoImage)
	}
	for _, name := range append([]string{s.settings.NotFound}, s.settings.Immutable...) {
		if name != "" && (!filepath.IsLocal(name) || path.Clean(name) != strings.TrimSuffix(name, "/")) {
			return s.options.invalid("settings", "%q is not a path in the folder", name)
		}
	}
	return nil
}

func (s *static) Inputs(ctx context.Context) (dockerfile.Context, []inputs.Item, error) {
	toolchain, err := s.server.locate(ctx)
	if err != nil {
		return dockerfile.Context{}, nil, err
	}
	if err := s.survey(ctx); err != nil {
		return dockerfile.Context{}, nil, err
	}
	settings, err := json.Marshal(s.settings)
	if err != nil {
		return dockerfile.Context{}, nil, err
	}
	items := []inputs.Item{
		{Kind: "harmony's", Name: "certificates and users", Value: baseDigest()},
		{Kind: "harmony's", Name: "static server", Value: digest.FromString(serverModule + serverMain + serverSite).Encoded()},
		{Kind: inputs.Setting, Name: "static", Value: string(settings)},
		{Kind: inputs.Setting, Name: "created", Value: fmt.Sprint(s.options.Created.Unix())},
		{Kind: "toolchain", Name: "go", Value: toolchain},
	}
	for _, f := range s.files {
		items = append(items, inputs.Item{Kind: inputs.File, Name: f.name, Value: f.digest, Path: f.host})
	}
	s.digests.Save()
	return s.dockerfile(), items, nil
}

// survey lists the files. Names that begin with a dot are not served, but for
// .well-known.
func (s *static) survey(ctx context.Context) error {
	folder := s.options.App.Image.Buildable.Folder
	root, err := dockerfile.OpenFolder(filepath.Join(s.options.App.ProjectRoot, folder), "")
	if err != nil {
		return s.options.invalid("folder", "%s is not a folder in the project", folder)
	}
	defer root.Close()
	entries, err := root.Entries(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", folder, err)
	}
	s.files = s.files[:0]
	for _, e := range entries {
		if hidden(e.Path) || e.Kind == fs.ModeDir {
			continue
		}
		if e.Kind == fs.ModeSymlink {
			return s.options.invalid("folder", "%s is a symbolic link; static serves files", path.Join(folder, e.Path))
		}
		sum, err := s.digests.Known(e.Host, e.Info, e.Open)
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		s.files = append(s.files, siteFile{e.Path, e.Host, sum, e.Info.Size()})
	}
	return s.complete(folder)
}

func hidden(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") && part != ".well-known" {
			return true
		}
	}
	return false
}

// complete makes sure that the files exist that the settings need.
func (s *static) complete(folder string) error {
	switch {
	case len(s.files) == 0:
		return s.options.invalid("folder", "%s has no files to serve", folder).WithHint("make the site first, then release it")
	case s.has("healthz"):
		return s.options.invalid("folder", "%s/healthz would hide the server's own answer at /healthz: give it another name", folder)
	case s.settings.SPA && !s.has(indexPage):
		return s.options.invalid("settings.spa", "%s has no index.html to answer with", folder)
	case s.settings.NotFound != "" && !s.has(s.settings.NotFound):
		return s.options.invalid("settings.notFound", "%s has no %s", folder, s.settings.NotFound)
	}
	return nil
}

func (s *static) has(name string) bool {
	return slices.ContainsFunc(s.files, func(f siteFile) bool { return f.name == name })
}

func (s *static) dockerfile() dockerfile.Context {
	w := newWriter("buildable static: " + s.options.App.Image.Buildable.Folder)
	s.server.stage(w)
	w.base()
	s.server.copy(w)
	w.line("COPY site/ /site/")
	w.line("COPY site.json /app/site.json")
	w.line("EXPOSE %d", s.settings.Port)
	w.run("/", nonroot, serverPath, "/app/site.json")
	return w.context()
}

func (s *static) Context(ctx context.Context, dir string) (dockerfile.Context, error) {
	if err := writeBase(ctx, dir, s.options.Created); err != nil {
		return dockerfile.Context{}, err
	}
	s.options.progress("compile", "the static server")
	if err := s.server.write(ctx, dir); err != nil {
		return dockerfile.Context{}, err
	}
	s.options.progress("pack", fmt.Sprintf("%d files", len(s.files)))
	if err := s.writeSite(ctx, dir); err != nil {
		return dockerfile.Context{}, err
	}
	return writeDockerfile(dir, s.dockerfile())
}

// writeFile writes a file that everybody can read in the image, whatever the umask.
func writeFile(name string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		return err
	}
	return os.Chmod(name, 0o644)
}
