package daemonless

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/pkg/protocol"
)

// copying is a COPY or ADD.
type copying struct {
	// sources in the order in which they are placed.
	sources []source
	// dest is absolute; it ends with a slash if it must be a folder.
	dest  string
	chown string
	chmod chmod
	// link places the files whatever is at the destination.
	link bool
}

// source is one thing to copy: a path in from, a content, a file to download, or
// what was found in the context.
type source struct {
	from *state
	take dockerfile.Take

	name    string
	content *string

	remote *remoteFile

	found dockerfile.Source

	// unpack is set for archives that are unpacked.
	unpack bool
}

// copy makes the operation of a COPY, or of an ADD, which add is set for and c has
// the common flags of.
func (e *evaluator) copy(ctx context.Context, s *state, c *instructions.CopyCommand, add *instructions.AddCommand, from *state) (*copying, error) {
	mode, err := parseChmod(c.Chmod)
	if err != nil {
		return nil, err
	}
	// With a mode BuildKit follows links at the destination, --link or not.
	op := &copying{dest: s.destination(c.DestPath), chown: c.Chown, chmod: mode, link: c.Link && c.Chmod == ""}
	for _, name := range c.SourcePaths {
		found, err := e.sources(ctx, name, c, add, from)
		if err != nil {
			return nil, err
		}
		op.sources = append(op.sources, found...)
	}
	for _, content := range c.SourceContents {
		op.sources = append(op.sources, source{name: content.Path, content: &content.Data})
	}
	return op, nil
}

// sources are what one word of a COPY or ADD names.
func (e *evaluator) sources(ctx context.Context, name string, c *instructions.CopyCommand, add *instructions.AddCommand, from *state) ([]source, error) {
	s := source{from: from, take: dockerfile.TakeOf(name, "", c.Parents, c.ExcludePatterns)}
	if add != nil {
		remote := dockerfile.IsRemote(name)
		s.unpack = !remote
		if add.Unpack != nil {
			s.unpack = *add.Unpack
		}
		if remote {
			file, err := newRemoteFile(name, add.Checksum)
			return []source{{remote: file, unpack: s.unpack}}, err
		}
		if add.Checksum != "" {
			return nil, fmt.Errorf("--checksum is for downloads, and %s is not one", name)
		}
	}
	if from != nil {
		return []source{s}, nil
	}
	if local := path.Clean(strings.TrimLeft(name, "/")); local == ".." || strings.HasPrefix(local, "../") {
		return nil, fmt.Errorf("%s leads out of the context", name)
	}
	found, err := e.source.Find(ctx, s.take)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, e.nothing(ctx, s.take.Pattern)
	}
	var sources []source
	for _, f := range found {
		s.found = f
		sources = append(sources, s)
	}
	return sources, nil
}

// nothing refuses a pattern without a match in a folder that BuildKit does not get:
// it gets one only if an instruction takes it or something in it.
func (e *evaluator) nothing(ctx context.Context, pattern string) error {
	dir := rooted(pattern)
	for dockerfile.IsPattern(dir) {
		dir = rooted(path.Dir(dir))
	}
	there, err := e.source.Takes(ctx, dir, e.recipe.request.Takes)
	if err == nil && !there {
		err = protocol.Invalid("%s: nothing matches, and no other instruction takes %s", pattern, dir)
	}
	return err
}

// copyFrom is the stage or image of --from.
func (e *evaluator) copyFrom(ctx context.Context, name string, stage, line int) (*state, error) {
	if i, ok := e.File.Source(name); ok && i < stage {
		return e.Stage(i)
	}
	if name == "scratch" {
		return nil, dockerfile.Invalid(e.File.Name, line, "--from=scratch: it is empty")
	}
	b, err := e.recipe.registry.Resolve(ctx, name, e.recipe.request.Bases[name], e.Platform)
	if err != nil {
		return nil, dockerfile.Locate(e.File.Name, line, err)
	}
	return &state{base: b, image: b.Config}, nil
}

// destination is absolute, and keeps the slash or dot that means a folder.
func (s *state) destination(dest string) string {
	folder := dest == "" || dest == "." || strings.HasSuffix(dest, "/") || strings.HasSuffix(dest, "/.")
	dest = s.absolute(dest)
	if folder && dest != "/" {
		dest += "/"
	}
	return dest
}

// baseName is the name that a file gets in a folder.
func baseName(p string) string { return path.Base(path.Clean("/" + p)) }
