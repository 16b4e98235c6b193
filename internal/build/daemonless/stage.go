package daemonless

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// defaultPath is the PATH of images that set none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// state is what a stage comes to: a base image, what is put on top of it, and
// the configuration.
type state struct {
	// base is nil for scratch.
	base       *base
	operations []*operation
	image      dockerspec.DockerOCIImage
	// history has an entry for each instruction; EmptyLayer of an entry with an
	// operation is only known when it was carried out.
	history []step

	variables variables // ARG and ENV
	commandOf bool      // CMD was set in this stage

	digest string // once computed
}

// step is an entry of the history.
type step struct {
	text      string
	operation *operation // nil where it only configures
}

// operation changes the file system.
type operation struct {
	name string // of the Dockerfile
	line int
	// Exactly one is set: a folder to make, or files to copy.
	folder string
	copy   *copying
}

// evaluator works out the stages of a Dockerfile for one platform.
type evaluator struct {
	file     *parsed
	recipe   *dockerfile
	platform ocispec.Platform
	source   *buildContext

	global variables
	done   map[int]*state
}

func (e *evaluator) target(ctx context.Context, name string) (*state, error) {
	i, err := e.file.target(name)
	if err != nil {
		return nil, err
	}
	e.done = map[int]*state{}
	e.global, err = globalArgs(e.file, platformArgs(e.platform, name, e.recipe.spec.Args), e.recipe.spec.Args)
	if err != nil {
		return nil, err
	}
	if err := e.file.check(i, e.baseName); err != nil {
		return nil, err
	}
	return e.stage(ctx, i)
}

func (e *evaluator) baseName(s instructions.Stage) (string, error) {
	name, err := e.global.expand(e.file.escape, s.BaseName)
	if err != nil {
		return "", invalid(e.file.name, lineOf(s.Location), "%w", err)
	}
	if name == "" {
		return "", invalid(e.file.name, lineOf(s.Location), "FROM %s comes to an empty name; give the ARG a default or set it in dockerfile.args", s.BaseName)
	}
	return name, nil
}

// stage evaluates the stage with this number, once.
func (e *evaluator) stage(ctx context.Context, i int) (*state, error) {
	if s, ok := e.done[i]; ok {
		return s, nil
	}
	stage := e.file.stages[i]
	s, err := e.from(ctx, i, stage)
	if err != nil {
		return nil, err
	}
	for _, command := range stage.Commands {
		if err := e.expand(s, command); err != nil {
			return nil, err
		}
		if err := e.apply(ctx, s, command, i); err != nil {
			return nil, err
		}
	}
	e.done[i] = s
	return s, nil
}

// from is the state that the stage begins with.
func (e *evaluator) from(ctx context.Context, i int, stage instructions.Stage) (*state, error) {
	line := lineOf(stage.Location)
	name, err := e.baseName(stage)
	if err != nil {
		return nil, err
	}
	platform := e.platform
	if stage.Platform != "" {
		text, err := e.global.expand(e.file.escape, stage.Platform)
		if err == nil {
			platform, err = parsePlatform(text)
		}
		if err != nil {
			return nil, invalid(e.file.name, line, "FROM --platform=%s: %w", stage.Platform, err)
		}
	}
	if earlier, ok := e.file.stage(name, i, false); ok {
		s, err := e.stage(ctx, earlier)
		if err != nil {
			return nil, err
		}
		return s.child(), nil
	}
	if name == "scratch" {
		return scratch(platform), nil
	}
	return e.image(ctx, name, platform, line)
}

// image is the state that a base image gives.
func (e *evaluator) image(ctx context.Context, name string, platform ocispec.Platform, line int) (*state, error) {
	e.recipe.progress("resolve", "%s", name)
	b, err := e.recipe.registry.resolve(ctx, name, platform)
	if err != nil {
		return nil, locate(e.file.name, line, err)
	}
	if len(b.config.Config.OnBuild) > 0 {
		return nil, unsupported(e.file.name, line, "the base image %s has ONBUILD instructions", name)
	}
	s := &state{base: b, image: b.config}
	s.variables = slices.Clone(variables(s.image.Config.Env))
	s.requirePath()
	return s.child(), nil
}

func scratch(p ocispec.Platform) *state {
	s := &state{}
	s.image.OS, s.image.Architecture, s.image.Variant = p.OS, p.Architecture, p.Variant
	s.image.Config.WorkingDir = "/"
	s.requirePath()
	return s
}

func (s *state) requirePath() {
	if _, ok := s.variables.get("PATH"); !ok {
		s.setEnv("PATH", defaultPath)
	}
}

func (s *state) setEnv(name, value string) {
	s.variables = s.variables.with(name, value)
	s.image.Config.Env = variables(s.image.Config.Env).with(name, value)
}

// child is a stage FROM this one: a copy that can be changed. Arguments end with
// their stage.
func (s *state) child() *state {
	c := *s
	c.operations, c.history = slices.Clone(s.operations), slices.Clone(s.history)
	c.variables = slices.Clone(variables(s.image.Config.Env))
	c.commandOf, c.digest = false, ""
	c.image = cloneImage(s.image)
	return &c
}

// expand replaces the variables of an instruction. Those of ARG are replaced
// one by one when it is applied.
func (e *evaluator) expand(s *state, command instructions.Command) error {
	var err error
	if _, isArg := command.(*instructions.ArgCommand); !isArg {
		if c, ok := command.(instructions.SupportsSingleWordExpansion); ok {
			err = c.Expand(func(word string) (string, error) { return s.variables.expand(e.file.escape, word) })
		}
	}
	if c, ok := command.(instructions.SupportsSingleWordExpansionRaw); ok && err == nil {
		err = c.ExpandRaw(s.variables.expandContent)
	}
	if err != nil {
		return invalid(e.file.name, lineOf(command.Location()), "%w", err)
	}
	return nil
}

// apply carries out one instruction on the state.
func (e *evaluator) apply(ctx context.Context, s *state, command instructions.Command, stage int) error {
	line := lineOf(command.Location())
	var op *operation
	var err error
	switch c := command.(type) {
	case *instructions.ArgCommand:
		err = e.argument(s, c)
	case *instructions.WorkdirCommand:
		op = &operation{name: e.file.name, line: line, folder: s.workdir(c.Path)}
	case *instructions.CopyCommand:
		op, err = e.copy(ctx, s, copyFlags{c.SourcesAndDest, c.Chown, c.Chmod, c.From, false}, line, stage)
	case *instructions.AddCommand:
		op, err = e.copy(ctx, s, copyFlags{c.SourcesAndDest, c.Chown, c.Chmod, "", true}, line, stage)
	default:
		err = s.configure(command, e.file.escape)
		if err != nil {
			err = invalid(e.file.name, line, "%w", err)
		}
	}
	if err != nil {
		return err
	}
	if op != nil {
		s.operations = append(s.operations, op)
	}
	s.history = append(s.history, step{textOf(command), op})
	return nil
}

// textOf is the instruction as it is written.
func textOf(c instructions.Command) string {
	if text, ok := c.(interface{ String() string }); ok {
		return text.String()
	}
	return c.Name()
}

func (e *evaluator) argument(s *state, c *instructions.ArgCommand) error {
	for _, arg := range c.Args {
		value, ok, err := argValue(e.file, *c, arg, s.variables, e.recipe.spec.Args)
		if err != nil {
			return err
		}
		if !ok {
			value, ok = e.global.get(arg.Key)
		}
		if ok {
			s.variables = s.variables.with(arg.Key, value)
		}
	}
	return nil
}

// workdir sets and returns the working folder, absolute and clean.
func (s *state) workdir(to string) string {
	s.image.Config.WorkingDir = s.absolute(to)
	return s.image.Config.WorkingDir
}

// absolute is a path of the image from its root, without a trailing slash.
func (s *state) absolute(to string) string {
	if !strings.HasPrefix(to, "/") {
		to = path.Join("/", s.image.Config.WorkingDir, to)
	}
	return path.Clean(to)
}
