package daemonless

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/nationtech/harmony/pkg/protocol"
)

// parsed is a Dockerfile after reading, before anything is expanded.
type parsed struct {
	name   string
	stages []instructions.Stage
	global []instructions.ArgCommand
	escape rune
}

// parse reads a Dockerfile. Errors are of status protocol.ExitInvalid and begin
// with name:line.
func parse(name string, data []byte) (*parsed, error) {
	if ref, _, at, ok := parser.DetectSyntax(data); ok && !knownSyntax(ref) {
		return nil, unsupported(name, lineOf(at), "the syntax %s needs a builder that runs it", ref)
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
	return &parsed{name, stages, global, result.EscapeToken}, nil
}

// knownSyntax reports whether a frontend is the one whose parser this is.
func knownSyntax(ref string) bool {
	ref = strings.TrimPrefix(ref, "docker.io/")
	return ref == "docker/dockerfile" || strings.HasPrefix(ref, "docker/dockerfile:") || strings.HasPrefix(ref, "docker/dockerfile@")
}

// syntaxError takes the position out of an error of the parser.
func syntaxError(name string, err error) error {
	line := 0
	var at *parser.LocationError
	if errors.As(err, &at) && len(at.Locations) > 0 {
		line = lineOf(at.Locations[0])
		err = at.Unwrap()
	}
	return invalid(name, line, "%w", err)
}

func lineOf(location []parser.Range) int {
	if len(location) == 0 {
		return 0
	}
	return location[0].Start.Line
}

func invalid(name string, line int, format string, args ...any) *protocol.Error {
	return protocol.Invalid("%s:%d: %w", name, line, fmt.Errorf(format, args...))
}

// unsupported is an error for what another adapter can do.
func unsupported(name string, line int, format string, args ...any) *protocol.Error {
	return protocol.Unsupported("%s:%d: %s", name, line, fmt.Sprintf(format, args...)).
		WithHint("the adapters docker and buildkit can do it; in a topology: spec: {containerBuilder: {adapter: docker}}")
}

// stage finds an earlier stage by name, or by number where that is allowed.
func (f *parsed) stage(name string, before int, numbers bool) (int, bool) {
	if i, ok := instructions.HasStage(f.stages[:before], name); ok && name != "" {
		return lastStage(f.stages[:before], name, i), true
	}
	if i, err := strconv.Atoi(name); err == nil && numbers && i >= 0 && i < before {
		return i, true
	}
	return 0, false
}

// lastStage is the last one of a name: a later stage of the same name hides an
// earlier one.
func lastStage(stages []instructions.Stage, name string, found int) int {
	for i, s := range slices.Backward(stages) {
		if strings.EqualFold(s.Name, name) {
			return i
		}
	}
	return found
}

// target is the stage to build.
func (f *parsed) target(name string) (int, error) {
	if name == "" {
		return len(f.stages) - 1, nil
	}
	if i, ok := f.stage(name, len(f.stages), true); ok {
		return i, nil
	}
	var names []string
	for _, s := range f.stages {
		if s.Name != "" {
			names = append(names, s.Name)
		}
	}
	return 0, protocol.Invalid("%s: no stage is called %q (named stages: %s)", f.name, name, strings.Join(names, ", "))
}

// check refuses what needs another builder in the stages that the target is
// made of. Nothing of it needs the network, so it comes first.
func (f *parsed) check(target int, base func(instructions.Stage) (string, error)) error {
	seen := make([]bool, len(f.stages))
	var visit func(int) error
	visit = func(i int) error {
		if seen[i] {
			return nil
		}
		seen[i] = true
		name, err := base(f.stages[i])
		if err != nil {
			return err
		}
		needs := []int{}
		if from, ok := f.stage(name, i, false); ok {
			needs = append(needs, from)
		}
		for _, c := range f.stages[i].Commands {
			if err := f.checkCommand(c); err != nil {
				return err
			}
			if c, ok := c.(*instructions.CopyCommand); ok {
				if from, ok := f.stage(c.From, i, true); ok {
					needs = append(needs, from)
				}
			}
		}
		for _, n := range needs {
			if err := visit(n); err != nil {
				return err
			}
		}
		return nil
	}
	return visit(target)
}

func (f *parsed) checkCommand(c instructions.Command) error {
	line := lineOf(c.Location())
	switch c := c.(type) {
	case *instructions.RunCommand:
		return unsupported(f.name, line, "RUN … needs a builder that runs commands")
	case *instructions.OnbuildCommand:
		return unsupported(f.name, line, "ONBUILD is not a part of OCI images")
	case *instructions.CopyCommand:
		if c.Parents || len(c.ExcludePatterns) > 0 {
			return unsupported(f.name, line, "COPY with --parents or --exclude needs another builder")
		}
		if strings.Contains(c.From, "$") {
			return invalid(f.name, line, "COPY --from=%s: variables are not allowed here; name a stage with FROM … AS", c.From)
		}
	case *instructions.AddCommand:
		return f.checkAdd(c, line)
	}
	return nil
}

func (f *parsed) checkAdd(c *instructions.AddCommand, line int) error {
	if len(c.ExcludePatterns) > 0 || c.Checksum != "" || c.KeepGitDir != nil || c.Unpack != nil && *c.Unpack {
		return unsupported(f.name, line, "ADD with --exclude, --checksum, --keep-git-dir or --unpack needs another builder")
	}
	for _, source := range c.SourcePaths {
		if remoteSource(source) {
			return unsupported(f.name, line, "ADD of %s needs a builder that downloads", source)
		}
	}
	return nil
}

func remoteSource(source string) bool {
	for _, prefix := range []string{"http://", "https://", "ftp://", "git://", "git@", "ssh://"} {
		if strings.HasPrefix(source, prefix) {
			return true
		}
	}
	return false
}
