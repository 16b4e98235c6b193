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

// Base is the part of a base image's configuration that decides what a stage
// takes.
type Base struct{ Env, OnBuild []string }

// Everything is all that is in a context.
func Everything() []Take { return []Take{{Pattern: "/"}} }

// Takes are what the target takes of each context on a platform: COPY, ADD and
// RUN --mount=type=bind. The name of the main context is empty. What a base
// image is like is asked for; one that is nil may take anything.
func (f *File) Takes(c Context, platform ocispec.Platform, base func(name string, p ocispec.Platform) (*Base, error)) (map[string][]Take, error) {
	t := &taker{file: f, context: c, platform: platform, base: base, found: map[string][]Take{}, done: map[int]*scope{}}
	if f.Frontend != nil {
		t.found[""] = Everything()
		for name := range c.Contexts {
			t.found[name] = Everything()
		}
		return t.found, nil
	}
	target, err := f.Target(c.Target)
	if err != nil {
		return nil, err
	}
	if t.global, err = f.Globals(platform, c.Target, c.Args); err != nil {
		return nil, err
	}
	_, err = t.stage(target)
	return t.found, err
}

type taker struct {
	file     *File
	context  Context
	platform ocispec.Platform
	global   Variables
	base     func(string, ocispec.Platform) (*Base, error)
	found    map[string][]Take
	done     map[int]*scope
}

// scope is what a stage leaves to those that are FROM it.
type scope struct {
	variables, env Variables
	onBuild        []string
}

func (t *taker) stage(i int) (*scope, error) {
	if s, ok := t.done[i]; ok {
		return s, nil
	}
	stage := t.file.Stages[i]
	line := Line(stage.Location)
	if _, replaced := t.context.Contexts[strings.ToLower(stage.Name)]; replaced && stage.Name != "" {
		return t.from(stage.Name, i, t.platform)
	}
	name, err := t.file.BaseName(t.global, stage)
	if err != nil {
		return nil, err
	}
	platform, err := t.file.StagePlatform(t.global, stage, t.platform)
	if err != nil {
		return nil, err
	}
	s, err := t.from(name, i, platform)
	if err != nil {
		return nil, err
	}
	triggers, err := t.file.Triggers(s.onBuild, line)
	if err != nil {
		return nil, err
	}
	s.onBuild = nil
	for _, c := range append(triggers, stage.Commands...) {
		if err := t.apply(s, c, i); err != nil {
			return nil, err
		}
	}
	t.done[i] = s
	return s, nil
}

// from is the scope that a stage begins with.
func (t *taker) from(name string, before int, platform ocispec.Platform) (*scope, error) {
	if value, ok := t.context.Contexts[strings.ToLower(name)]; ok {
		image, isImage := strings.CutPrefix(value, "docker-image://")
		if !isImage {
			t.take(strings.ToLower(name), Everything()...)
			return &scope{}, nil
		}
		name = image
	} else if earlier, ok := t.file.Base(name, before); ok {
		s, err := t.stage(earlier)
		if err != nil {
			return nil, err
		}
		return &scope{s.variables.WithAll(s.env), slices.Clone(s.env), s.onBuild}, nil
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
	at := place(t.file.Name, Line(c.Location()))
	if err := t.file.Expand(c, s.variables); err != nil {
		return err
	}
	switch c := c.(type) {
	case *instructions.ArgCommand:
		s.variables, err = t.file.Argument(c, s.variables, t.global, t.context.Args)
	case *instructions.EnvCommand:
		for _, pair := range c.Env {
			s.variables, s.env = s.variables.With(pair.Key, pair.Value), s.env.With(pair.Key, pair.Value)
		}
	case *instructions.OnbuildCommand:
		s.onBuild = append(slices.Clone(s.onBuild), c.Expression)
	case *instructions.AddCommand:
		for _, word := range c.SourcePaths {
			if !IsRemote(word) {
				t.take("", TakeOf(word, false, c.ExcludePatterns).at(at))
			}
		}
	case *instructions.CopyCommand:
		var takes []Take
		for _, word := range c.SourcePaths {
			takes = append(takes, TakeOf(word, c.Parents, c.ExcludePatterns).at(at))
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
	if _, ok := t.context.Contexts[strings.ToLower(name)]; ok || name == "" {
		t.take(strings.ToLower(name), takes...)
		return nil
	}
	i, ok := t.file.Source(name)
	if !ok || i >= stage {
		return nil // an image, or refused elsewhere
	}
	_, err := t.stage(i)
	return err
}

// refused is an error of status protocol.ExitInvalid, unless it comes from the
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
