package dockerfile

import (
	"cmp"
	"runtime"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Variables are name=value, in the order of their first setting.
type Variables []string

// Get is the value of a variable, if it is set.
func (v Variables) Get(name string) (string, bool) {
	for _, entry := range v {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// With returns a copy in which the variable has the value.
func (v Variables) With(name, value string) Variables {
	out := make(Variables, 0, len(v)+1)
	replaced := false
	for _, entry := range v {
		if strings.HasPrefix(entry, name+"=") {
			entry, replaced = name+"="+value, true
		}
		out = append(out, entry)
	}
	if !replaced {
		out = append(out, name+"="+value)
	}
	return out
}

// WithAll returns a copy in which the variables of another list have its values.
func (v Variables) WithAll(others Variables) Variables {
	for _, entry := range others {
		name, value, _ := strings.Cut(entry, "=")
		v = v.With(name, value)
	}
	return v
}

// Expand replaces variables in a word, and takes its quotes away.
func (v Variables) Expand(escape rune, word string) (string, error) {
	out, _, err := shell.NewLex(escape).ProcessWord(word, shell.EnvsFromSlice(v))
	return out, err
}

// ExpandContent replaces variables in a here-document, whose quotes stay.
func (v Variables) ExpandContent(text string) (string, error) {
	lex := shell.NewLex('\\')
	lex.SkipProcessQuotes = true
	out, _, err := lex.ProcessWord(text, shell.EnvsFromSlice(v))
	return out, err
}

// platformArgs are the arguments that every Dockerfile may use: in FROM as they
// are, in a stage after declaring them.
func platformArgs(target ocispec.Platform, stage string, override map[string]string) Variables {
	build := ocispec.Platform{OS: "linux", Architecture: runtime.GOARCH}
	var v Variables
	for _, arg := range [][2]string{
		{"BUILDPLATFORM", ocilayout.PlatformString(build)},
		{"BUILDOS", build.OS},
		{"BUILDOSVERSION", build.OSVersion},
		{"BUILDARCH", build.Architecture},
		{"BUILDVARIANT", build.Variant},
		{"TARGETPLATFORM", ocilayout.PlatformString(target)},
		{"TARGETOS", target.OS},
		{"TARGETOSVERSION", target.OSVersion},
		{"TARGETARCH", target.Architecture},
		{"TARGETVARIANT", target.Variant},
		{"TARGETSTAGE", cmp.Or(stage, "default")},
	} {
		value := arg[1]
		if given, ok := override[arg[0]]; ok {
			value = given
		}
		v = v.With(arg[0], value)
	}
	return v
}

// Globals are the arguments before the first FROM, on top of the platform's.
func (f *File) Globals(platform ocispec.Platform, target string, given map[string]string) (Variables, error) {
	v := platformArgs(platform, cmp.Or(target, f.Stages[len(f.Stages)-1].Name), given)
	for _, command := range f.Global {
		for _, arg := range command.Args {
			value, ok, err := f.ArgValue(command, arg, v, given)
			if err != nil {
				return nil, err
			}
			if ok {
				v = v.With(arg.Key, value)
			}
		}
	}
	return v, nil
}

// ArgValue is the given value of an argument, or its expanded default.
func (f *File) ArgValue(c instructions.ArgCommand, arg instructions.KeyValuePairOptional, v Variables, given map[string]string) (string, bool, error) {
	if value, ok := given[arg.Key]; ok {
		return value, true, nil
	}
	if arg.Value == nil {
		return "", false, nil
	}
	value, err := v.Expand(f.Escape, *arg.Value)
	if err != nil {
		return "", false, Invalid(f.Name, Line(c.Location()), "%w", err)
	}
	return value, true, nil
}

// ParsePlatform reads a platform that an image is made for: os/arch[/variant],
// or the name of one of them, by any of their usual names. There has to be such
// a system.
func ParsePlatform(name string) (ocispec.Platform, error) {
	p, err := platforms.Parse(name)
	if alone, e := platforms.Parse("linux/" + name); e == nil && !strings.Contains(name, "/") && isArchitecture(alone.Architecture) {
		p, err = alone, nil
	}
	if err != nil {
		return p, protocol.Invalid("platform %q: %w", name, err).WithHint("a platform is os/arch[/variant], for example linux/amd64")
	}
	p = platforms.Normalize(p)
	if system, err := platforms.Parse(p.OS); err != nil || system.OS != p.OS || !isArchitecture(p.Architecture) {
		return p, protocol.Invalid("platform %q: unknown operating system or architecture", name).
			WithHint("a platform is os/arch[/variant], for example linux/amd64 or linux/arm64")
	}
	return p, nil
}

// isArchitecture reports whether there is an architecture of this name. Only
// names of systems and architectures that there are can be read alone.
func isArchitecture(name string) bool {
	p, err := platforms.Parse(name)
	return err == nil && p.Architecture == name && p.OS != name
}
