package dockerfile

import (
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Evaluation works out the stages of a Dockerfile for one platform, each once. S is
// the state of a stage, which Apply changes.
type Evaluation[S any] struct {
	File     *File
	Context  Context
	Platform ocispec.Platform

	// Image is the state that a stage FROM an image, scratch or a named context
	// begins with; Child that of a stage FROM another stage.
	Image func(name string, p ocispec.Platform, line int) (S, error)
	Child func(S) S
	// Variables are ARG and ENV. Triggers removes the ONBUILD instructions from a
	// state.
	Variables func(S) Variables
	Triggers  func(s S, line int) ([]instructions.Command, error)
	// Apply carries out one instruction, whose variables are expanded.
	Apply func(s S, c instructions.Command, stage int) error

	// Global are the arguments before the first FROM, once Target was called.
	Global Variables
	done   map[int]S
}

// Target is the state of the stage to build.
func (e *Evaluation[S]) Target() (s S, err error) {
	e.done = map[int]S{}
	i, err := e.File.Target(e.Context.Target)
	if err != nil {
		return s, err
	}
	if e.Global, err = e.File.Globals(e.Platform, e.Context.Target, e.Context.Args); err != nil {
		return s, err
	}
	return e.Stage(i)
}

// Stage is the state of the stage with this number.
func (e *Evaluation[S]) Stage(i int) (S, error) {
	if s, ok := e.done[i]; ok {
		return s, nil
	}
	stage := e.File.Stages[i]
	if _, replaced := e.Context.named(stage.Name); replaced {
		return e.Image(stage.Name, e.Platform, Line(stage.Location))
	}
	s, err := e.from(i, stage)
	if err != nil {
		return s, err
	}
	commands, err := e.Triggers(s, Line(stage.Location))
	if err != nil {
		return s, err
	}
	for _, c := range append(commands, stage.Commands...) {
		if err := e.File.Expand(c, e.Variables(s)); err != nil {
			return s, err
		}
		if err := e.Apply(s, c, i); err != nil {
			return s, err
		}
	}
	e.done[i] = s
	return s, nil
}

// from is the state that a stage begins with.
func (e *Evaluation[S]) from(i int, stage instructions.Stage) (s S, err error) {
	name, err := e.File.BaseName(e.Global, stage)
	if err != nil {
		return s, err
	}
	platform, err := e.File.StagePlatform(e.Global, stage, e.Platform)
	if err != nil {
		return s, err
	}
	_, replaced := e.Context.named(name)
	if earlier, ok := e.File.Base(name, i); ok && !replaced {
		if s, err = e.Stage(earlier); err == nil {
			s = e.Child(s)
		}
		return s, err
	}
	return e.Image(name, platform, Line(stage.Location))
}

// named is the named context that replaces a stage or image of this name.
func (c Context) named(name string) (value string, ok bool) {
	value, ok = c.Contexts[strings.ToLower(name)]
	return value, ok && name != ""
}
