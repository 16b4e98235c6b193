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

// state is a stage so far: a base image, the operations on top of it, and the
// configuration.
type state struct {
	// base is nil for scratch.
	base       *base.Image
	operations []*operation
	image      dockerspec.DockerOCIImage
	// history has an entry for each instruction.
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
	dockerfile.Evaluation[*state]
	recipe *recipe
	source *dockerfile.Folder
}

// target is the state of the image.
func (r *recipe) target(ctx context.Context, file *dockerfile.File, source *dockerfile.Folder, platform ocispec.Platform) (*state, error) {
	e := evaluator{recipe: r, source: source}
	e.Evaluation = dockerfile.Evaluation[*state]{
		File: file, Context: r.request.Context, Platform: platform,
		Image: func(name string, p ocispec.Platform, line int) (*state, error) {
			return e.image(ctx, name, p, line)
		},
		Child:     (*state).child,
		Variables: func(s *state) dockerfile.Variables { return s.variables },
		Triggers:  e.triggers,
		Apply: func(s *state, c instructions.Command, stage int) error {
			return e.apply(ctx, s, c, stage)
		},
	}
	s, err := e.Target()
	if err != nil {
		return nil, err
	}
	return s.built(platform), nil
}

// image is the state of a stage FROM an image.
func (e *evaluator) image(ctx context.Context, name string, platform ocispec.Platform, line int) (*state, error) {
	if name == "scratch" {
		return scratch(platform), nil
	}
	e.recipe.progress("resolve", "%s", name)
	b, err := e.recipe.registry.Resolve(ctx, name, e.recipe.request.Bases[name], platform)
	if err != nil {
		return nil, dockerfile.Locate(e.File.Name, line, err)
	}
	if !b.Fits(platform) {
		return nil, unsupported(e.File.Name, line, "%s is for %s, not %s", name,
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

// triggers removes the ONBUILD instructions of what a stage is FROM from its
// configuration: they run before the stage's own.
func (e *evaluator) triggers(s *state, line int) ([]instructions.Command, error) {
	commands, err := e.File.Triggers(s.image.Config.OnBuild, line)
	s.image.Config.OnBuild = nil
	for _, c := range commands {
		if c, ok := c.(*instructions.CopyCommand); ok && c.From != "" {
			return nil, unsupported(e.File.Name, line, "the base has ONBUILD COPY --from=%s, which needs another builder", c.From)
		}
		if err := checkCommand(e.File, c); err != nil {
			return nil, err
		}
	}
	return commands, err
}

// apply carries out one instruction on the state.
func (e *evaluator) apply(ctx context.Context, s *state, command instructions.Command, stage int) (err error) {
	op := &operation{name: e.File.Name, line: dockerfile.Line(command.Location())}
	switch c := command.(type) {
	case *instructions.ArgCommand:
		if s.variables, err = e.File.Argument(c, s.variables, e.Global, e.Context.Args); err != nil {
			return err
		}
	case *instructions.WorkdirCommand:
		op.folder, op.user = s.workdir(c.Path), s.image.Config.User
	case *instructions.CopyCommand:
		var from *state
		if c.From != "" {
			if from, err = e.copyFrom(ctx, c.From, stage, op.line); err != nil {
				return err
			}
		}
		op.copy, err = e.copy(ctx, s, c, nil, from)
	case *instructions.AddCommand:
		op.copy, err = e.copy(ctx, s, &instructions.CopyCommand{
			SourcesAndDest: c.SourcesAndDest, Chown: c.Chown, Chmod: c.Chmod, Link: c.Link, ExcludePatterns: c.ExcludePatterns,
		}, c, nil)
	default:
		err = s.configure(command, e.File.Escape)
	}
	if err != nil {
		return atLine(op.name, op.line, err)
	}
	if op.folder == "" && op.copy == nil {
		op = nil
	} else {
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
