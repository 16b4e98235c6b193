package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/pkg/protocol"
)

// ignoreFile is what the classic builder reads for what COPY may not see.
const ignoreFile = ".dockerignore"

// packed is a context as a tar stream.
type packed struct {
	*io.PipeReader
	// dockerfile is the path of the Dockerfile in it.
	dockerfile string
	done       chan struct{}
	err        error
}

// failure is why the context could not be read to its end. It waits until
// nobody reads it anymore.
func (p *packed) failure() error {
	p.PipeReader.Close()
	<-p.done
	if errors.Is(p.err, io.ErrClosedPipe) {
		return nil
	}
	return p.err
}

// packContext streams what is taken of a context, with the Dockerfile. Times and
// owners are not told, as they differ between checkouts.
func packContext(ctx context.Context, r build.Request) (*packed, error) {
	c := r.Context
	folder, err := c.Open()
	if err != nil {
		return nil, err
	}
	takes := r.Takes
	if takes == nil {
		takes = dockerfile.Everything()
	}
	entries, err := folder.Taken(ctx, takes)
	if err != nil {
		return nil, errors.Join(protocol.Invalid("context: %w", err), folder.Close())
	}
	entries, extra, name, err := withDockerfile(entries, c)
	if err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	out, w := io.Pipe()
	p := &packed{PipeReader: out, dockerfile: name, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = errors.Join(writeContext(ctx, w, entries, extra), folder.Close())
		w.CloseWithError(p.err)
	}()
	return p, nil
}

// file is one that is in memory.
type file struct {
	name string
	data []byte
}

// withDockerfile says what the Dockerfile is called in the stream. One that is
// not a part of the context as it was read is brought under a name of its own,
// which COPY does not see.
func withDockerfile(entries []dockerfile.Entry, c build.Context) ([]dockerfile.Entry, []file, string, error) {
	if path, err := filepath.Rel(c.Dir, c.Dockerfile); err == nil && filepath.IsLocal(path) {
		path = filepath.ToSlash(path)
		if slices.ContainsFunc(entries, func(e dockerfile.Entry) bool { return e.Name == path && e.Kind == 0 }) {
			return entries, nil, path, nil
		}
	}
	const own = ".dockerfile.harmony"
	rules := "\n" + own + "\n"
	ignore := slices.IndexFunc(entries, func(e dockerfile.Entry) bool { return e.Name == ignoreFile })
	if ignore < 0 {
		rules = ignoreFile + rules
		return entries, []file{{own, c.Text}, {ignoreFile, []byte(rules)}}, own, nil
	}
	// COPY sees the file as docker build shows it, with the line more.
	data, err := read(entries[ignore])
	rest := slices.Delete(slices.Clone(entries), ignore, ignore+1)
	return rest, []file{{own, c.Text}, {ignoreFile, append(data, rules...)}}, own, err
}

func read(e dockerfile.Entry) ([]byte, error) {
	f, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func writeContext(ctx context.Context, w io.Writer, entries []dockerfile.Entry, extra []file) error {
	t := tar.NewWriter(w)
	for _, f := range extra {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.data)), ModTime: time.Unix(0, 0)}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.Copy(t, bytes.NewReader(f.data)); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := writeEntry(t, e); err != nil {
			return err
		}
	}
	return t.Close()
}

func writeEntry(t *tar.Writer, e dockerfile.Entry) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: e.Name, Mode: e.Mode, ModTime: time.Unix(0, 0)}
	switch e.Kind {
	case fs.ModeDir:
		h.Typeflag, h.Name = tar.TypeDir, e.Name+"/"
	case fs.ModeSymlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, e.Link
	default:
		h.Size = e.Info.Size()
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	return writeContent(t, e)
}

func writeContent(t *tar.Writer, e dockerfile.Entry) error {
	content, err := e.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	n, err := io.Copy(t, content)
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && n != e.Info.Size() {
		return fmt.Errorf("%s changed while it was read: no longer %d bytes", e.Name, e.Info.Size())
	}
	return err
}
