package build

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/nationtech/harmony/internal/build/buildable"
	"github.com/nationtech/harmony/internal/build/dockerfile"
	"github.com/nationtech/harmony/internal/build/inputs"
	"github.com/nationtech/harmony/internal/plugins/lock"
	"github.com/nationtech/harmony/pkg/protocol"
)

// writtenSource is a buildable, which writes its context.
type writtenSource struct {
	buildable.Source
	items []inputs.Item
}

func openBuildable(j *job) (*writtenSource, error) {
	source, err := buildable.Open(buildable.Options{
		App: j.app, Platforms: j.platforms, Created: j.created, Memory: j.memory, DryRun: j.env.DryRun,
		Finder: lock.Finder(os.Getenv("PATH")),
		Progress: func(phase, message string) {
			j.env.Progress(protocol.Event{Metadata: j.app.Metadata, Phase: phase, Message: message})
		},
	})
	if err != nil {
		return nil, err
	}
	return &writtenSource{Source: source}, nil
}

// Dockerfile implements [Source].
func (s *writtenSource) Dockerfile(ctx context.Context) (Context, error) {
	c, items, err := s.Source.Inputs(ctx)
	s.items = items
	return c, err
}

// Items implements [Source].
func (s *writtenSource) Items(context.Context, map[string][]dockerfile.Take) ([]inputs.Item, error) {
	return s.items, nil
}

// Context implements [Source]. The umask leaves no mark on what was written.
func (s *writtenSource) Context(ctx context.Context, dir string) (Context, error) {
	c, err := s.Source.Context(ctx, dir)
	if err != nil {
		return c, err
	}
	return c, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() && !d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chmod(path, dockerfile.Checkout(info.Mode()))
	})
}

// Close ends what the buildable started.
func (s *writtenSource) Close() error {
	if c, ok := s.Source.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
