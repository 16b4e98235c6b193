package docker

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/nationtech/harmony/internal/build"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// ignoreFile tells the classic builder what COPY may not see.
const ignoreFile = ".dockerignore"

// packed is a context as a tar stream.
type packed struct {
	*io.PipeReader
	// dockerfile is the path of the Dockerfile in it.
	dockerfile string
	done       chan struct{}
	err        error
}

// failure is why the context could not be read to the end. It waits until the
// writer is done.
func (p *packed) failure() error {
	p.PipeReader.Close()
	<-p.done
	if errors.Is(p.err, io.ErrClosedPipe) {
		return nil
	}
	return p.err
}

// packContext streams what a build takes of its context, with the Dockerfile. Times
// and owners are left out, as they differ between checkouts.
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
	all, name, err := addDockerfile(entries, c)
	if err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	out, w := io.Pipe()
	p := &packed{PipeReader: out, dockerfile: name, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.err = errors.Join(ocilayout.WriteTar(ctx, w, all, time.Unix(0, 0)), folder.Close())
		w.CloseWithError(p.err)
	}()
	return p, nil
}

// addDockerfile returns the entries with the Dockerfile, and its path. One that is
// not in the context, or not as it was read, is added under a name that COPY does
// not see.
func addDockerfile(entries []dockerfile.Entry, c build.Context) ([]ocilayout.Entry, string, error) {
	var all []ocilayout.Entry
	const own = ".dockerfile.harmony"
	rules, name := []byte(ignoreFile+"\n"+own+"\n"), own
	path, err := filepath.Rel(c.Dir, c.Dockerfile)
	inContext := err == nil && filepath.IsLocal(path)
	for _, e := range entries {
		switch {
		case inContext && e.Name == filepath.ToSlash(path) && e.Kind == 0:
			name = e.Name
		case e.Name == ignoreFile:
			// COPY sees the file as docker build shows it, with one line more.
			if rules, err = read(e); err != nil {
				return nil, "", err
			}
			rules = append(rules, "\n"+own+"\n"...)
		}
		all = append(all, e.Layered())
	}
	if name == own {
		all = slices.DeleteFunc(all, func(e ocilayout.Entry) bool { return e.Path == ignoreFile })
		all = append(all, ocilayout.File(own, 0o644, c.Text), ocilayout.File(ignoreFile, 0o644, rules))
	}
	return all, name, nil
}

func read(e dockerfile.Entry) ([]byte, error) {
	f, err := e.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
