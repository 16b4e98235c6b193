package dockerfile

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is an image that a Dockerfile names.
type Image struct {
	// Name is as the Dockerfile has it, after expansion.
	Name string
	// Line is the first that names it.
	Line int
}

// BaseName is what a stage is FROM: a stage, scratch or an image.
func (f *File) BaseName(global Variables, s instructions.Stage) (string, error) {
	name, err := global.Expand(f.Escape, s.BaseName)
	if err != nil {
		return "", Invalid(f.Name, Line(s.Location), "%w", err)
	}
	if name == "" {
		return "", Invalid(f.Name, Line(s.Location), "FROM %s expands to an empty name; give the ARG a default or set it in dockerfile.args", s.BaseName)
	}
	return name, nil
}

// StagePlatform is what FROM --platform says, else the given one.
func (f *File) StagePlatform(global Variables, s instructions.Stage, otherwise ocispec.Platform) (ocispec.Platform, error) {
	if s.Platform == "" {
		return otherwise, nil
	}
	text, err := global.Expand(f.Escape, s.Platform)
	if err == nil {
		var p platforms.Platform
		if p, err = platforms.Parse(text); err == nil {
			return platforms.Normalize(p), nil
		}
	}
	return otherwise, Invalid(f.Name, Line(s.Location), "FROM --platform=%s: %w", s.Platform, err)
}

// check refuses what is wrong with any stage, needed or not.
func (f *File) check(global Variables) error {
	for i, s := range f.Stages {
		name, err := f.BaseName(global, s)
		if err != nil {
			return err
		}
		if _, ok := f.Base(name, i); !ok {
			if err := f.checkImage(name, Line(s.Location)); err != nil {
				return err
			}
		}
		if _, err := f.StagePlatform(global, s, ocispec.Platform{}); err != nil {
			return err
		}
		for _, c := range s.Commands {
			c, ok := c.(*instructions.CopyCommand)
			if !ok || c.From == "" {
				continue
			}
			if word, err := (Variables{}).Expand(f.Escape, c.From); err != nil || word != c.From {
				return Invalid(f.Name, Line(c.Location()), "COPY --from=%s: variables are not allowed here; name a stage with FROM … AS", c.From)
			}
			if i, err := strconv.Atoi(c.From); err == nil && (i < 0 || i >= len(f.Stages)) {
				return Invalid(f.Name, Line(c.Location()), "--from=%s: no earlier stage has this number", c.From)
			}
			if _, ok := f.Source(c.From); !ok {
				if err := f.checkImage(c.From, Line(c.Location())); err != nil {
					return err
				}
			}
		}
	}
	seen := make([]int, len(f.Stages))
	for i := range f.Stages {
		if err := f.checkCycle(i, seen); err != nil {
			return err
		}
	}
	return nil
}

// checkCycle refuses a stage that copies from itself, by way of others or not.
// Stages in progress have a 1, those that are done a 2.
func (f *File) checkCycle(stage int, seen []int) error {
	if seen[stage] == 2 {
		return nil
	}
	seen[stage] = 1
	for _, c := range f.Stages[stage].Commands {
		for _, from := range sources(c) {
			i, ok := f.Source(from)
			if ok && seen[i] == 1 {
				return Invalid(f.Name, Line(c.Location()), "--from=%s: circular dependency: the stage copies from itself", from)
			}
			if ok {
				if err := f.checkCycle(i, seen); err != nil {
					return err
				}
			}
		}
	}
	seen[stage] = 2
	return nil
}

// checkImage refuses what cannot be the name of an image.
func (f *File) checkImage(name string, line int) error {
	if _, err := reference.ParseNormalizedNamed(name); err != nil {
		return Invalid(f.Name, line, "%s: %w", name, err)
	}
	return nil
}

// Needed are the numbers of the stages that the target of a context is made of on a
// platform, sorted, and the images that they are FROM or take files from. Named
// contexts replace both.
func (f *File) Needed(platform ocispec.Platform, c Context) (stages []int, images []Image, err error) {
	target, err := f.Target(c.Target)
	if err != nil {
		return nil, nil, err
	}
	global, err := f.Globals(platform, c.Target, c.Args)
	if err != nil {
		return nil, nil, err
	}
	if err := f.check(global); err != nil {
		return nil, nil, err
	}
	s := search{file: f, global: global, context: c, seen: make([]bool, len(f.Stages))}
	if err := s.visit(target); err != nil {
		return nil, nil, err
	}
	for i, seen := range s.seen {
		if seen {
			stages = append(stages, i)
		}
	}
	return stages, s.images, nil
}

type search struct {
	file    *File
	global  Variables
	context Context
	seen    []bool
	images  []Image
}

func (s *search) visit(i int) error {
	if s.seen[i] {
		return nil
	}
	stage := s.file.Stages[i]
	if s.named(stage.Name) {
		return nil
	}
	s.seen[i] = true
	name, err := s.file.BaseName(s.global, stage)
	if err != nil {
		return err
	}
	if earlier, ok := s.file.Base(name, i); ok && !s.named(name) {
		err = s.visit(earlier)
	} else {
		s.image(name, Line(stage.Location))
	}
	for _, c := range stage.Commands {
		for _, from := range sources(c) {
			if err == nil {
				err = s.follow(from, i, Line(c.Location()))
			}
		}
	}
	return err
}

// named reports whether a context has the name.
func (s *search) named(name string) bool {
	_, ok := s.context.named(name)
	return ok
}

// sources are the stages and images that an instruction takes files from.
func sources(c instructions.Command) []string {
	var names []string
	switch c := c.(type) {
	case *instructions.CopyCommand:
		names = []string{c.From}
	case *instructions.RunCommand:
		for _, m := range instructions.GetMounts(c) {
			names = append(names, m.From)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" || strings.Contains(name, "$") })
}

// follow goes to the stage of --from, or notes the image.
func (s *search) follow(name string, stage, line int) error {
	i, ok := s.file.Source(name)
	switch {
	case s.named(name):
		return nil
	case ok && i > stage:
		return Invalid(s.file.Name, line, "--from=%s: the stage needs to be defined before the current one", name)
	case ok:
		return s.visit(i)
	}
	if _, err := strconv.Atoi(name); err == nil {
		return Invalid(s.file.Name, line, "--from=%s: no earlier stage has this number", name)
	}
	s.image(name, line)
	return nil
}

// image notes an image, once.
func (s *search) image(name string, line int) {
	known := func(i Image) bool { return i.Name == name }
	if name != "scratch" && !s.named(name) && !slices.ContainsFunc(s.images, known) {
		s.images = append(s.images, Image{name, line})
	}
}

// Images are those that the target of a context is built from on a platform, as
// their registries name them. The frontend of a foreign syntax is one.
func (f *File) Images(platform ocispec.Platform, c Context) ([]Image, error) {
	if f.Frontend != nil {
		return []Image{*f.Frontend}, nil
	}
	_, images, err := f.Needed(platform, c)
	for _, name := range slices.Sorted(maps.Keys(c.Contexts)) {
		if image, ok := strings.CutPrefix(c.Contexts[name], "docker-image://"); ok {
			images = append(images, Image{Name: image})
		}
	}
	return images, err
}
