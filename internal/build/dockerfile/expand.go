package dockerfile

import (
	"errors"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Expand replaces the variables of an instruction. Those of ARG are replaced
// one by one when it is applied.
func (f *File) Expand(command instructions.Command, v Variables) error {
	var err error
	if _, isArg := command.(*instructions.ArgCommand); !isArg {
		if c, ok := command.(instructions.SupportsSingleWordExpansion); ok {
			err = c.Expand(func(word string) (string, error) { return v.Expand(f.Escape, word) })
		}
	}
	if c, ok := command.(instructions.SupportsSingleWordExpansionRaw); ok && err == nil {
		err = c.ExpandRaw(v.ExpandContent)
	}
	if err != nil {
		return Invalid(f.Name, Line(command.Location()), "%w", err)
	}
	return nil
}

// Argument returns the variables with those that an ARG declares.
func (f *File) Argument(c *instructions.ArgCommand, v, global Variables, given map[string]string) (Variables, error) {
	for _, arg := range c.Args {
		value, ok, err := f.ArgValue(*c, arg, v, given)
		if err != nil {
			return v, err
		}
		if !ok {
			value, ok = global.Get(arg.Key)
		}
		if ok {
			v = v.With(arg.Key, value)
		}
	}
	return v, nil
}

// Triggers are the ONBUILD instructions of what a stage is FROM, which come
// before its own.
func (f *File) Triggers(expressions []string, line int) ([]instructions.Command, error) {
	var commands []instructions.Command
	for _, text := range expressions {
		c, err := parseTrigger(text, line)
		if err != nil {
			return nil, Invalid(f.Name, line, "ONBUILD %s of the base: %w", text, err)
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
		return nil, errors.New("is not one instruction")
	}
	n := result.AST.Children[0]
	n.StartLine, n.EndLine = line, line
	return instructions.ParseCommand(n)
}
