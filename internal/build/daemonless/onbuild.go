package daemonless

import (
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// triggers takes the ONBUILD instructions of what a stage is FROM out of its
// configuration: they come before the stage's own.
func (e *evaluator) triggers(s *state, line int) ([]instructions.Command, error) {
	commands, err := e.file.Triggers(s.image.Config.OnBuild, line)
	s.image.Config.OnBuild = nil
	for _, c := range commands {
		if c, ok := c.(*instructions.CopyCommand); ok && c.From != "" {
			return nil, unsupported(e.file.Name, line, "the base has ONBUILD COPY --from=%s, which needs another builder", c.From)
		}
		if err := checkCommand(e.file, c); err != nil {
			return nil, err
		}
	}
	return commands, err
}
