package daemonless

import (
	"fmt"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/nationtech/harmony/internal/build/dockerfile"
)

// triggers takes the ONBUILD instructions of what a stage is FROM out of its
// configuration: they come before the stage's own.
func (e *evaluator) triggers(s *state, line int) ([]instructions.Command, error) {
	expressions := s.image.Config.OnBuild
	s.image.Config.OnBuild = nil
	var commands []instructions.Command
	for _, text := range expressions {
		c, err := parseTrigger(text, line)
		if err != nil {
			return nil, dockerfile.Invalid(e.file.Name, line, "ONBUILD %s of the base: %w", text, err)
		}
		if err := checkTrigger(e.file, c, line); err != nil {
			return nil, err
		}
		commands = append(commands, c)
	}
	return commands, nil
}

func parseTrigger(text string, line int) (instructions.Command, error) {
	result, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	if len(result.AST.Children) != 1 {
		return nil, fmt.Errorf("is not one instruction")
	}
	n := result.AST.Children[0]
	n.StartLine, n.EndLine = line, line
	return instructions.ParseCommand(n)
}

func checkTrigger(f *dockerfile.File, c instructions.Command, line int) error {
	if c, ok := c.(*instructions.CopyCommand); ok && c.From != "" {
		return unsupported(f.Name, line, "the base has ONBUILD COPY --from=%s, which needs another builder", c.From)
	}
	return checkCommand(f, c)
}
