package buildable

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nationtech/harmony/internal/build/inputs"
)

// ahead is a compilation that runs in parallel with the survey, which finds out whether
// it was needed: a program whose sources changed usually has to be compiled.
type ahead struct {
	dir    string
	flags  []string // for the linker
	cancel context.CancelFunc
	done   chan struct{}

	// What follows is set when done is closed.
	started time.Time
	err     error
}

// startAhead begins to compile what an earlier survey saw, once its last changes are
// over.
func (g *golang) startAhead(ctx context.Context, before *inputs.Trace) error {
	if err := os.MkdirAll(g.options.Memory, 0o700); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(g.options.Memory, "ahead-*")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead{dir: dir, flags: g.ldflags, cancel: cancel, done: make(chan struct{})}
	g.ahead = a
	go func() {
		defer close(a.done)
		select {
		case <-time.After(time.Until(before.Over())):
		case <-ctx.Done():
			a.err = ctx.Err()
			return
		}
		a.started = time.Now()
		for _, p := range g.options.Platforms {
			if a.err = g.compile(ctx, p, a.binary(p)); a.err != nil {
				return
			}
		}
	}()
	return nil
}

func (a *ahead) binary(p ocispec.Platform) string { return filepath.Join(a.dir, platformName(p)) }

// compiled puts the compiled program at a path: the one compiled ahead, if it was
// certainly made from what the survey saw.
func (g *golang) compiled(ctx context.Context, p ocispec.Platform, path string) error {
	if a := g.ahead; a != nil {
		select {
		case <-a.done:
		case <-ctx.Done():
			return fmt.Errorf("compile %s: %w", g.main(), ctx.Err())
		}
		// Nothing that the survey saw changed after the compiler had started
		// reading; later changes show when the inputs are read again.
		if !a.started.IsZero() && g.notes.SettledBefore(a.started) && slices.Equal(a.flags, g.ldflags) {
			if a.err != nil {
				return a.err
			}
			return os.Rename(a.binary(p), path)
		}
	}
	return g.compile(ctx, p, path)
}

// Close ends the compilation, if there is one, and removes what it made.
func (g *golang) Close() error {
	a := g.ahead
	if a == nil {
		return nil
	}
	g.ahead = nil
	a.cancel()
	<-a.done
	return os.RemoveAll(a.dir)
}
