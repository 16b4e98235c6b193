package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

func sigterm(ctx context.Context, s *subject) error { return signalled(ctx, s, syscall.SIGTERM) }
func sigint(ctx context.Context, s *subject) error  { return signalled(ctx, s, syscall.SIGINT) }

// signalled sends a signal while the plugin waits for more input, after it has
// forwarded a document: then it surely runs.
func signalled(ctx context.Context, s *subject, signal syscall.Signal) error {
	in, feed, errIn := os.Pipe()
	out, stdout, errOut := os.Pipe()
	if err := errors.Join(errIn, errOut); err != nil {
		return err
	}
	defer in.Close()
	defer feed.Close()
	defer out.Close()
	var sent time.Time
	began := func(p *os.Process) error {
		_, err := io.WriteString(feed, stream(topology, unknownKind))
		if err = errors.Join(err, stdout.Close()); err != nil {
			return err
		}
		first := make(chan error, 1)
		go func() {
			_, err := out.Read(make([]byte, 1))
			first <- err
			_, _ = io.Copy(io.Discard, out)
		}()
		select {
		case <-first:
		case <-time.After(stopDeadline): // it buffers documents; signal it anyway
		}
		sent = time.Now()
		return p.Signal(signal)
	}
	r, err := s.start(ctx, in, stdout, began)
	if err != nil {
		return err
	}
	if took := time.Since(sent); took > stopDeadline {
		return fmt.Errorf("it kept running for more than %s", stopDeadline)
	}
	if r.code != protocol.ExitInterrupted {
		return fmt.Errorf("it exited with status %d", r.code)
	}
	return nil
}
