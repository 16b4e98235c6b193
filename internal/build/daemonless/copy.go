package daemonless

import (
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// copying is a COPY or ADD, with its sources found where they are in the
// context.
type copying struct {
	sources []source
	// from is where patterns are looked up otherwise: a stage or an image.
	from     *state
	patterns []string
	// dest is absolute; it ends with a slash if it has to be a folder.
	dest  string
	chown string
	// mode replaces that of every file and folder; -1 leaves them.
	mode int64
}

// copyFlags is what COPY and ADD have in common. --link is not in it: it says how
// layers can be reused, and these are cheap to make.
type copyFlags struct {
	instructions.SourcesAndDest
	chown, chmod, from string
	add                bool
}

func (e *evaluator) copy(ctx context.Context, s *state, c copyFlags, line, stage int) (*operation, error) {
	mode, err := parseMode(c.chmod)
	if err != nil {
		return nil, unsupported(e.file.name, line, "--chmod=%s: only octal modes such as 0755 are possible without running anything", c.chmod)
	}
	op := &copying{dest: s.destination(c.DestPath), chown: c.chown, mode: mode}
	for _, content := range c.SourceContents {
		op.sources = append(op.sources, source{name: content.Path, content: &content.Data})
	}
	if c.from != "" {
		op.patterns = c.SourcePaths
		op.from, err = e.copyFrom(ctx, c.from, line, stage)
	} else {
		err = e.find(op, c, line)
	}
	if err != nil {
		return nil, err
	}
	return &operation{name: e.file.name, line: line, copy: op}, nil
}

// find looks the sources up in the context.
func (e *evaluator) find(op *copying, c copyFlags, line int) error {
	for _, pattern := range c.SourcePaths {
		if c.add && remoteSource(pattern) {
			return unsupported(e.file.name, line, "ADD of %s needs a builder that downloads", pattern)
		}
		found, err := e.source.find(pattern)
		if err != nil {
			return invalid(e.file.name, line, "%w", err)
		}
		for _, s := range found {
			archive, err := c.add && s.isArchive(), error(nil)
			if archive {
				err = unsupported(e.file.name, line, "ADD of the archive %s unpacks it, which needs another builder", pattern)
			}
			if err != nil {
				return err
			}
		}
		op.sources = append(op.sources, found...)
	}
	return nil
}

// copyFrom is the stage or image of --from.
func (e *evaluator) copyFrom(ctx context.Context, name string, line, stage int) (*state, error) {
	if i, ok := e.file.stage(name, stage, true); ok {
		return e.stage(ctx, i)
	}
	if _, err := strconv.Atoi(name); err == nil {
		return nil, invalid(e.file.name, line, "--from=%s: no earlier stage has this number", name)
	}
	if name == "scratch" {
		return nil, invalid(e.file.name, line, "--from=scratch: there is nothing in it")
	}
	b, err := e.recipe.registry.resolve(ctx, name, e.platform)
	if err != nil {
		return nil, locate(e.file.name, line, err)
	}
	return &state{base: b, image: b.config}, nil
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

var errMode = errors.New("not an octal mode")

func parseMode(text string) (int64, error) {
	if text == "" {
		return -1, nil
	}
	mode, err := strconv.ParseInt(text, 8, 32)
	if err != nil || mode < 0 || mode > 0o7777 {
		return 0, errMode
	}
	return mode, nil
}

// isArchive reports whether ADD would unpack the file: a tar archive, plain or
// compressed. Of a compression that cannot be looked into here it says yes.
func (s source) isArchive() bool {
	if s.folder || len(s.files) != 1 || s.files[0].size == 0 {
		return false
	}
	f, err := os.Open(s.files[0].host)
	if err != nil {
		return false // told when it is read for its digest
	}
	defer f.Close()
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	head = head[:n]
	for _, magic := range [][]byte{{0xfd, '7', 'z', 'X', 'Z', 0}, {0x28, 0xb5, 0x2f, 0xfd}} {
		if bytes.HasPrefix(head, magic) {
			return true // xz, zstd
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(f)
		return err == nil && isTar(z)
	case bytes.HasPrefix(head, []byte("BZh")):
		return isTar(bzip2.NewReader(f))
	}
	return isTar(f)
}

// isTar looks for the magic of a tar header, as all tools of this century write.
func isTar(r io.Reader) bool {
	head := make([]byte, 262)
	_, err := io.ReadFull(r, head)
	return err == nil && string(head[257:262]) == "ustar"
}

// baseName is the name that a file gets in a folder.
func baseName(p string) string { return path.Base(path.Clean("/" + p)) }
