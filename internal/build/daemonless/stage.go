package daemonless

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/base"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/ocilayout"
)

// defaultPath is the PATH of images that set none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// state is what a stage comes to: a base image, what is put on top of it, and
// the configuration.
type state struct {
	// base is nil for scratch.
	base       *base.Image
	operations []*operation
	image      dockerspec.DockerOCIImage
	// history has an entry for each instruction; EmptyLayer of an entry with an
	// operation is only known when it was carried out.
	history []step

	variables dockerfile.Variables // ARG and ENV
	commandOf bool                 // CMD was set in this stage
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
	user   string // owns the folder
}

// evaluator works out the stages of a Dockerfile for one platform.
type evaluator struct {
	file     *dockerfile.File
	recipe   *recipe
	platform ocispec.Platform
	source   *dockerfile.Folder

	global dockerfile.Variables
	done   map[int]*state
}

func (e *evaluator) target(ctx context.Context) (*state, error) {
	c := e.recipe.request.Context
	i, err := e.file.Target(c.Target)
	if err != nil {
		return nil, err
	}
	e.done = map[int]*state{}
	if e.global, err = e.file.Globals(e.platform, c.Target, c.Args); err != nil {
		return nil, err
	}
	s, err := e.stage(ctx, i)
	if err != nil {
		return nil, err
	}
	return s.built(e.platform), nil
}

// stage evaluates the stage with this number, once.
func (e *evaluator) stage(ctx context.Context, i int) (*state, error) {
	if s, ok := e.done[i]; ok {
		return s, nil
	}
	stage := e.file.Stages[i]
	s, err := e.from(ctx, i, stage)
	if err != nil {
		return nil, err
	}
	commands, err := e.triggers(s, dockerfile.Line(stage.Location))
	if err != nil {
		return nil, err
	}
	for _, command := range append(commands, stage.Commands...) {
		if err := e.file.Expand(command, s.variables); err != nil {
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
	line := dockerfile.Line(stage.Location)
	name, err := e.file.BaseName(e.global, stage)
	if err != nil {
		return nil, err
	}
	platform, err := e.file.StagePlatform(e.global, stage, e.platform)
	if err != nil {
		return nil, err
	}
	if earlier, ok := e.file.Base(name, i); ok {
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
	b, err := e.recipe.registry.Resolve(ctx, name, e.recipe.request.Bases[name], platform)
	if err != nil {
		return nil, dockerfile.Locate(e.file.Name, line, err)
	}
	if !b.Fits(platform) {
		return nil, unsupported(e.file.Name, line, "%s is for %s, not %s", name,
			ocilayout.PlatformString(b.Config.Platform), ocilayout.PlatformString(platform))
	}
	s := &state{base: b, image: b.Config}
	if dir := s.image.Config.WorkingDir; dir != "" {
		s.workdir(dir) // a relative one is below itself
	}
	s.variables = slices.Clone(dockerfile.Variables(s.image.Config.Env))
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
	if _, ok := s.variables.Get("PATH"); !ok {
		s.setEnv("PATH", defaultPath)
	}
}

func (s *state) setEnv(name, value string) {
	s.variables = s.variables.With(name, value)
	s.image.Config.Env = dockerfile.Variables(s.image.Config.Env).With(name, value)
}

// child is a stage FROM this one: a copy that can be changed. It has its
// arguments too, but for those that hid a variable of the image.
func (s *state) child() *state {
	c := *s
	c.operations, c.history = slices.Clone(s.operations), slices.Clone(s.history)
	c.variables = s.variables.WithAll(s.image.Config.Env)
	c.commandOf = false
	c.image = cloneImage(s.image)
	return &c
}

// built is the state as the image of a platform: that is what the image tells,
// whatever its stage is FROM.
func (s *state) built(p ocispec.Platform) *state {
	c := *s
	same := c.image.OS == p.OS && c.image.Architecture == p.Architecture
	c.image.OS, c.image.Architecture = p.OS, p.Architecture
	if p.Variant != "" || !same {
		c.image.Variant = p.Variant
	}
	c.image.Platform = platforms.Normalize(c.image.Platform)
	return &c
}

// apply carries out one instruction on the state.
func (e *evaluator) apply(ctx context.Context, s *state, command instructions.Command, stage int) error {
	line := dockerfile.Line(command.Location())
	var op *operation
	var err error
	switch c := command.(type) {
	case *instructions.ArgCommand:
		s.variables, err = e.file.Argument(c, s.variables, e.global, e.recipe.request.Context.Args)
	case *instructions.WorkdirCommand:
		op = &operation{name: e.file.Name, line: line, folder: s.workdir(c.Path), user: s.image.Config.User}
	case *instructions.CopyCommand:
		op, err = e.copy(ctx, s, flagsOfCopy(c), place{line, stage})
	case *instructions.AddCommand:
		op, err = e.copy(ctx, s, flagsOfAdd(c), place{line, stage})
	default:
		err = s.configure(command, e.file.Escape)
		if err != nil {
			err = dockerfile.Invalid(e.file.Name, line, "%w", err)
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

// workdir sets the working folder, and returns it clean. An absolute one stays as
// it is written.
func (s *state) workdir(to string) string {
	clean := s.absolute(to)
	if s.image.Config.WorkingDir = to; !path.IsAbs(to) {
		s.image.Config.WorkingDir = clean
	}
	return clean
}

// absolute is a path of the image from its root, without a trailing slash.
func (s *state) absolute(to string) string {
	if !strings.HasPrefix(to, "/") {
		to = path.Join("/", s.image.Config.WorkingDir, to)
	}
	return path.Clean(to)
}
