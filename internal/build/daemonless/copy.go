package daemonless

import (
	"context"
	"errors"
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
	// dest is absolute; it ends with a slash if it has to be a folder.
	dest  string
	chown string
	chmod chmod
	// link places the files without looking at what is there.
	link bool
}

// source is one thing to copy. It is in from, if that is set, has a content, is
// a file to download, or was found in the context.
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

// copyFlags is what COPY and ADD have in common.
type copyFlags struct {
	instructions.SourcesAndDest
	chown, chmod, from string
	link, parents, add bool
	exclude            []string
	checksum           string
	unpack             *bool
}

func flagsOfCopy(c *instructions.CopyCommand) copyFlags {
	return copyFlags{
		SourcesAndDest: c.SourcesAndDest, chown: c.Chown, chmod: c.Chmod, from: c.From,
		link: c.Link, parents: c.Parents, exclude: c.ExcludePatterns,
	}
}

func flagsOfAdd(c *instructions.AddCommand) copyFlags {
	return copyFlags{
		SourcesAndDest: c.SourcesAndDest, chown: c.Chown, chmod: c.Chmod, add: true,
		link: c.Link, exclude: c.ExcludePatterns, checksum: c.Checksum, unpack: c.Unpack,
	}
}

// place is where an instruction stands.
type place struct{ line, stage int }

func (e *evaluator) copy(ctx context.Context, s *state, c copyFlags, at place) (*operation, error) {
	mode, err := parseChmod(c.chmod)
	if err != nil {
		return nil, dockerfile.Invalid(e.file.Name, at.line, "%w", err)
	}
	// A mode makes BuildKit look at what is there, link or not.
	op := &copying{
		dest: s.destination(c.DestPath), chown: c.chown, chmod: mode, link: c.link && c.chmod == "",
	}
	var from *state
	if c.from != "" {
		if from, err = e.copyFrom(ctx, c.from, at); err != nil {
			return nil, err
		}
	}
	for _, name := range c.SourcePaths {
		found, err := e.sources(ctx, c, from, name, at)
		if err != nil {
			return nil, err
		}
		op.sources = append(op.sources, found...)
	}
	for _, content := range c.SourceContents {
		op.sources = append(op.sources, source{name: content.Path, content: &content.Data})
	}
	return &operation{name: e.file.Name, line: at.line, copy: op}, nil
}

// sources are what one word of a COPY or ADD names.
func (e *evaluator) sources(ctx context.Context, c copyFlags, from *state, name string, at place) ([]source, error) {
	if c.add && dockerfile.IsRemote(name) {
		file, err := newRemoteFile(name, c.checksum)
		if err != nil {
			return nil, dockerfile.Locate(e.file.Name, at.line, err)
		}
		return []source{{remote: file, unpack: c.unpack != nil && *c.unpack}}, nil
	}
	if c.checksum != "" {
		return nil, dockerfile.Invalid(e.file.Name, at.line, "--checksum is for what is downloaded, %s is not", name)
	}
	s := source{unpack: c.add}
	if c.unpack != nil {
		s.unpack = *c.unpack
	}
	s.take = dockerfile.TakeOf(name, c.parents, c.exclude)
	if from != nil {
		s.from = from
		return []source{s}, nil
	}
	if local := path.Clean(strings.TrimLeft(name, "/")); local == ".." || strings.HasPrefix(local, "../") {
		return nil, dockerfile.Invalid(e.file.Name, at.line, "%s leads out of the context", name)
	}
	found, err := e.source.Find(ctx, s.take)
	var coded *protocol.Error
	if errors.As(err, &coded) {
		return nil, dockerfile.Locate(e.file.Name, at.line, err)
	}
	if err != nil {
		return nil, dockerfile.Invalid(e.file.Name, at.line, "%w", err)
	}
	if len(found) == 0 {
		if err := e.nothing(ctx, s.take.Pattern); err != nil {
			return nil, dockerfile.Locate(e.file.Name, at.line, err)
		}
	}
	var sources []source
	for _, f := range found {
		s.found = f
		sources = append(sources, s)
	}
	return sources, nil
}

// nothing refuses a pattern without a match in a folder that BuildKit does not
// have: it has one only when something takes it or what is in it.
func (e *evaluator) nothing(ctx context.Context, pattern string) error {
	dir := strings.TrimPrefix(path.Clean("/"+pattern), "/")
	for dockerfile.IsPattern(dir) {
		dir = strings.TrimPrefix(path.Dir("/"+dir), "/")
	}
	there, err := e.source.Takes(ctx, dir, e.recipe.request.Takes)
	if err == nil && !there {
		err = protocol.Invalid("%s: nothing matches, and no other instruction takes %s", pattern, dir)
	}
	return err
}

// copyFrom is the stage or image of --from.
func (e *evaluator) copyFrom(ctx context.Context, name string, at place) (*state, error) {
	if i, ok := e.file.Source(name); ok && i < at.stage {
		return e.stage(ctx, i)
	}
	if name == "scratch" {
		return nil, dockerfile.Invalid(e.file.Name, at.line, "--from=scratch: there is nothing in it")
	}
	b, err := e.recipe.registry.Resolve(ctx, name, e.recipe.request.Bases[name], e.platform)
	if err != nil {
		return nil, dockerfile.Locate(e.file.Name, at.line, err)
	}
	return &state{base: b, image: b.Config}, nil
}

// destination is absolute and keeps the sign of a folder.
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
