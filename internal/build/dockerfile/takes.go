package dockerfile

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Base is the part of a base image's configuration that affects what a stage takes.
type Base struct{ Env, OnBuild []string }

// Everything is all that is in a context.
func Everything() []Take { return []Take{{Pattern: "/"}} }

// Takes are what the target takes of each context on a platform: COPY, ADD and
// RUN --mount=type=bind. The name of the main context is empty. base looks up a
// base image; one that is nil may take anything.
func (f *File) Takes(c Context, platform ocispec.Platform, base func(name string, p ocispec.Platform) (*Base, error)) (map[string][]Take, error) {
	t := &taker{context: c, base: base, found: map[string][]Take{}}
	if f.Frontend != nil {
		t.found[""] = Everything()
		for name := range c.Contexts {
			t.found[name] = Everything()
		}
		return t.found, nil
	}
	t.Evaluation = Evaluation[*scope]{
		File: f, Context: c, Platform: platform, Image: t.image, Apply: t.apply,
		Child: func(s *scope) *scope {
			return &scope{s.variables.WithAll(s.env), slices.Clone(s.env), s.onBuild}
		},
		Variables: func(s *scope) Variables { return s.variables },
		Triggers: func(s *scope, line int) ([]instructions.Command, error) {
			commands, err := f.Triggers(s.onBuild, line)
			s.onBuild = nil
			return commands, err
		},
	}
	_, err := t.Target()
	return t.found, err
}

type taker struct {
	Evaluation[*scope]
	context Context
	base    func(string, ocispec.Platform) (*Base, error)
	found   map[string][]Take
}

// scope is what a stage leaves to those that are FROM it.
type scope struct {
	variables, env Variables
	onBuild        []string
}

// image is the scope of a stage FROM an image or a named context.
func (t *taker) image(name string, platform ocispec.Platform, _ int) (*scope, error) {
	if value, ok := t.context.named(name); ok {
		image, isImage := strings.CutPrefix(value, "docker-image://")
		if !isImage {
			t.take(strings.ToLower(name), Everything()...)
			return &scope{}, nil
		}
		name = image
	}
	if name == "scratch" {
		return &scope{}, nil
	}
	b, err := t.base(name, platform)
	if err != nil {
		return nil, err
	}
	if b == nil {
		t.take("", Everything()...)
		b = &Base{}
	}
	return &scope{slices.Clone(Variables(b.Env)), slices.Clone(Variables(b.Env)), b.OnBuild}, nil
}

func (t *taker) take(context string, takes ...Take) {
	t.found[context] = append(t.found[context], takes...)
}

func (t *taker) apply(s *scope, c instructions.Command, stage int) (err error) {
	at := place(t.File.Name, Line(c.Location()))
	switch c := c.(type) {
	case *instructions.ArgCommand:
		s.variables, err = t.File.Argument(c, s.variables, t.Global, t.context.Args)
	case *instructions.EnvCommand:
		for _, pair := range c.Env {
			s.variables, s.env = s.variables.With(pair.Key, pair.Value), s.env.With(pair.Key, pair.Value)
		}
	case *instructions.OnbuildCommand:
		s.onBuild = append(slices.Clone(s.onBuild), c.Expression)
	case *instructions.AddCommand:
		for _, word := range c.SourcePaths {
			if !IsRemote(word) {
				t.take("", TakeOf(word, at, false, c.ExcludePatterns))
			}
		}
	case *instructions.CopyCommand:
		var takes []Take
		for _, word := range c.SourcePaths {
			takes = append(takes, TakeOf(word, at, c.Parents, c.ExcludePatterns))
		}
		err = t.source(c.From, stage, takes)
	case *instructions.RunCommand:
		for _, m := range instructions.GetMounts(c) {
			if err == nil && m.Type == instructions.MountTypeBind {
				err = t.source(m.From, stage, []Take{{Pattern: m.Source, Place: at}})
			}
		}
	}
	return err
}

// source notes what is taken of a context, or visits the stage.
func (t *taker) source(name string, stage int, takes []Take) error {
	if _, ok := t.context.named(name); ok || name == "" {
		t.take(strings.ToLower(name), takes...)
		return nil
	}
	i, ok := t.File.Source(name)
	if !ok || i >= stage {
		return nil // an image, or refused elsewhere
	}
	_, err := t.Stage(i)
	return err
}

// refused gives an error the status protocol.ExitInvalid, unless it comes from the
// system or the work was cancelled.
func refused(err error) error {
	var path *fs.PathError
	var coded *protocol.Error
	if errors.As(err, &path) || errors.As(err, &coded) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return protocol.Invalid("%w", err)
}

// Takes reports whether a folder, or anything in it, is taken.
func (f *Folder) Takes(ctx context.Context, dir string, takes []Take) (bool, error) {
	entries, err := f.Taken(ctx, takes)
	return dir == "" || takes == nil || slices.ContainsFunc(entries, func(e Entry) bool {
		return e.Name == dir || strings.HasPrefix(e.Name, dir+"/")
	}), err
}

// Taken are the entries that a build takes, each once, sorted by their names in
// the context. What is not there is left out. A folder that is only taken for
// what is in it is Implied.
func (f *Folder) Taken(ctx context.Context, takes []Take) ([]Entry, error) {
	found := map[string]Entry{}
	note := func(e Entry) {
		if before, ok := found[e.Name]; !ok || before.Implied {
			found[e.Name] = e
		}
	}
	for _, take := range takes {
		sources, err := f.Find(ctx, take)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, placed(take.Place, refused(err))
		}
		for _, s := range sources {
			if s.Folder && s.real != "" {
				note(Entry{Name: s.real, Kind: fs.ModeDir, Mode: 0o755, Implied: true})
			}
			for _, e := range slices.Concat(s.links, s.Entries) {
				note(e)
			}
		}
	}
	entries := make([]Entry, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		entries = append(entries, found[name])
	}
	return entries, nil
}
