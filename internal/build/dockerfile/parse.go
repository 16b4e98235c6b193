package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/nationtech/harmony/pkg/protocol"
)

// File is a Dockerfile after reading, before anything is expanded.
type File struct {
	// Name is how messages call it.
	Name   string
	Stages []instructions.Stage
	// Global are the ARG instructions before the first FROM.
	Global []instructions.ArgCommand
	// Escape is the escape character.
	Escape rune
	// Frontend is set when the syntax line names another frontend than docker's
	// own. Nothing else is read of such a file.
	Frontend *Image
}

// Parse reads a Dockerfile. Errors are of status protocol.ExitInvalid and begin
// with name:line.
func Parse(name string, data []byte) (*File, error) {
	if ref, _, at, ok := parser.DetectSyntax(data); ok && !isOwnFrontend(ref) {
		return &File{Name: name, Frontend: &Image{Name: ref, Line: Line(at)}}, nil
	}
	result, err := parser.Parse(bytes.NewReader(data))
	if err != nil {
		return nil, syntaxError(name, err)
	}
	stages, global, err := instructions.Parse(result.AST, nil)
	if err != nil {
		return nil, syntaxError(name, err)
	}
	if len(stages) == 0 {
		return nil, protocol.Invalid("%s: has no FROM", name)
	}
	return &File{Name: name, Stages: stages, Global: global, Escape: result.EscapeToken}, nil
}

// isOwnFrontend reports whether a frontend is the one whose parser this is.
func isOwnFrontend(ref string) bool {
	ref = strings.TrimPrefix(ref, "docker.io/")
	return ref == "docker/dockerfile" || strings.HasPrefix(ref, "docker/dockerfile:") || strings.HasPrefix(ref, "docker/dockerfile@")
}

// syntaxError takes the position out of an error of the parser.
func syntaxError(name string, err error) error {
	line := 0
	var at *parser.LocationError
	if errors.As(err, &at) && len(at.Locations) > 0 {
		line = Line(at.Locations[0])
		err = at.Unwrap()
	}
	return Invalid(name, line, "%w", err)
}

// Line is the first line of an instruction.
func Line(location []parser.Range) int {
	if len(location) == 0 {
		return 0
	}
	return location[0].Start.Line
}

// Invalid is an error of status protocol.ExitInvalid at a line of a Dockerfile.
func Invalid(name string, line int, format string, args ...any) *protocol.Error {
	return protocol.Invalid("%s: %w", place(name, line), fmt.Errorf(format, args...))
}

// place is name:line, or the name alone for line 0.
func place(name string, line int) string {
	if line == 0 {
		return name
	}
	return name + ":" + strconv.Itoa(line)
}

// Locate puts the place of an instruction before an error, which keeps its
// status and hint.
func Locate(name string, line int, err error) error { return placed(place(name, line), err) }

func placed(place string, err error) error {
	if place == "" {
		return err
	}
	return &protocol.Error{Code: protocol.ExitCode(err), Message: place, Hint: protocol.HintOf(err), Err: err}
}

// Base finds the stage that another is FROM, which comes before it. A later one
// of the same name hides an earlier one, and upper case names an image.
func (f *File) Base(name string, before int) (int, bool) {
	for i, s := range slices.Backward(f.Stages[:before]) {
		if s.Name == name && name != "" {
			return i, true
		}
	}
	return 0, false
}

// Source finds the stage of --from by name or number, wherever it is.
func (f *File) Source(name string) (int, bool) {
	if i, err := strconv.Atoi(name); err == nil {
		return i, i >= 0 && i < len(f.Stages)
	}
	return f.Base(strings.ToLower(name), len(f.Stages))
}

// Target is the stage to build: the last one when the name is empty.
func (f *File) Target(name string) (int, error) {
	if name == "" {
		return len(f.Stages) - 1, nil
	}
	if i, ok := f.Source(name); ok {
		return i, nil
	}
	var names []string
	for _, s := range f.Stages {
		if s.Name != "" {
			names = append(names, s.Name)
		}
	}
	return 0, protocol.Invalid("%s: no stage is called %q (named stages: %s)", f.Name, name, strings.Join(names, ", "))
}

// IsRemote reports whether a source of ADD is to be downloaded.
func IsRemote(source string) bool {
	for _, prefix := range []string{"http://", "https://", "ftp://", "git://", "git@", "ssh://"} {
		if strings.HasPrefix(source, prefix) {
			return true
		}
	}
	return false
}

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

// maxSize bounds what is read of a Dockerfile or an ignore file. The longest
// that people wrote have some thousand lines.
const maxSize = 512 << 10

// Read reads the Dockerfile at a path, called name in messages.
func Read(path, name string) ([]byte, error) {
	data, err := readSmall(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, protocol.Invalid("%s: no such file", name)
	case err != nil:
		return nil, protocol.Invalid("%s: %w", name, err)
	}
	return data, nil
}

// readSmall reads a regular file of at most maxSize bytes.
func readSmall(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = fmt.Errorf("larger than %d KiB", maxSize>>10)
	}
	return data, err
}
