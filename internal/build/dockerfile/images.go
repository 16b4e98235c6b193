package dockerfile

import (
	"maps"
	"slices"
	"strconv"
	"strings"

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
		return "", Invalid(f.Name, Line(s.Location), "FROM %s comes to an empty name; give the ARG a default or set it in dockerfile.args", s.BaseName)
	}
	return name, nil
}

// Needed are the numbers of the stages that the target is made of, sorted, and
// the images that they are FROM or take files from. Both are found in a context
// of such a name first, where there is one: contexts has the lower-case names.
func (f *File) Needed(target int, global Variables, contexts map[string]string) (stages []int, images []Image, err error) {
	s := search{file: f, global: global, contexts: contexts, seen: make([]bool, len(f.Stages))}
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
	file     *File
	global   Variables
	contexts map[string]string
	seen     []bool
	images   []Image
}

func (s *search) visit(i int) error {
	if s.seen[i] {
		return nil
	}
	stage := s.file.Stages[i]
	if _, replaced := s.contexts[strings.ToLower(stage.Name)]; replaced && stage.Name != "" {
		return nil
	}
	s.seen[i] = true
	name, err := s.file.BaseName(s.global, stage)
	if err != nil {
		return err
	}
	if err := s.follow(name, i, false, Line(stage.Location)); err != nil {
		return err
	}
	for _, c := range stage.Commands {
		for _, from := range sources(c) {
			if err := s.follow(from, i, true, Line(c.Location())); err != nil {
				return err
			}
		}
	}
	return nil
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

// follow goes to the stage of a name, or notes the image.
func (s *search) follow(name string, before int, numbers bool, line int) error {
	if _, named := s.contexts[strings.ToLower(name)]; named || name == "scratch" {
		return nil
	}
	if i, ok := s.file.Stage(name, before, numbers); ok {
		return s.visit(i)
	}
	if _, err := strconv.Atoi(name); err == nil && numbers {
		return Invalid(s.file.Name, line, "--from=%s: no earlier stage has this number", name)
	}
	if !slices.ContainsFunc(s.images, func(i Image) bool { return i.Name == name }) {
		s.images = append(s.images, Image{name, line})
	}
	return nil
}

// Images are those that the target of a context is built from on a platform, as
// their registries name them. The frontend of a foreign syntax is one.
func (f *File) Images(platform ocispec.Platform, c Context) ([]Image, error) {
	if f.Frontend != nil {
		return []Image{*f.Frontend}, nil
	}
	target, err := f.Target(c.Target)
	if err != nil {
		return nil, err
	}
	global, err := f.Globals(platform, c.Target, c.Args)
	if err != nil {
		return nil, err
	}
	_, images, err := f.Needed(target, global, c.Contexts)
	for _, name := range slices.Sorted(maps.Keys(c.Contexts)) {
		if image, ok := strings.CutPrefix(c.Contexts[name], "docker-image://"); ok {
			images = append(images, Image{Name: image})
		}
	}
	return images, err
}
