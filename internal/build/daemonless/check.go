package daemonless

import (
	"context"
	"fmt"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// otherAdapters is the hint of what is not supported here.
const otherAdapters = "the adapters docker and buildkit can do it; in a topology: spec: {containerBuilder: {adapter: docker}}"

// unsupported is an error for what another adapter can do.
func unsupported(name string, line int, format string, args ...any) *protocol.Error {
	return protocol.Unsupported("%s:%d: %s", name, line, fmt.Sprintf(format, args...)).WithHint(otherAdapters)
}

// Check implements [build.Backend].
func (b *backend) Check(_ context.Context, r build.Request) error {
	for _, p := range r.Platforms {
		if p.OS != "linux" {
			return protocol.Unsupported("platform %s: the adapter daemonless makes linux images only", ocilayout.PlatformString(p))
		}
	}
	file, err := dockerfile.Parse(r.Context.Name, r.Context.Text)
	if err != nil {
		return err
	}
	if f := file.Frontend; f != nil {
		return unsupported(file.Name, f.Line, "the syntax %s needs a builder that runs it", f.Name)
	}
	for name := range r.Context.Contexts {
		return protocol.Unsupported("%s: the context %s: the adapter daemonless has no named contexts", file.Name, name)
	}
	for _, p := range r.Platforms {
		stages, _, err := file.Needed(p, r.Context)
		if err != nil {
			return err
		}
		for _, i := range stages {
			for _, c := range file.Stages[i].Commands {
				if err := checkCommand(file, c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func checkCommand(f *dockerfile.File, c instructions.Command) error {
	line := dockerfile.Line(c.Location())
	switch c := c.(type) {
	case *instructions.RunCommand:
		return unsupported(f.Name, line, "RUN … needs a builder that runs commands")
	case *instructions.AddCommand:
		return checkAdd(f, c, line)
	}
	return nil
}

func checkAdd(f *dockerfile.File, c *instructions.AddCommand, line int) error {
	if c.KeepGitDir != nil {
		return unsupported(f.Name, line, "ADD --keep-git-dir needs a builder that has git")
	}
	for _, source := range c.SourcePaths {
		// A URL with variables is checked when they are known.
		if !dockerfile.IsRemote(source) || strings.Contains(source, "$") {
			continue
		}
		if _, err := newRemoteFile(source, c.Checksum); err != nil && !strings.Contains(c.Checksum, "$") {
			return dockerfile.Locate(f.Name, line, err)
		}
	}
	return nil
}
