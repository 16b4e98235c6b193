package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/nationtech/harmony/pkg/protocol"
)

const (
	// attempts is the number of attempts to download, with a doubling pause between
	// them.
	attempts   = 3
	firstPause = 200 * time.Millisecond
	// usualPatience is how long a server may send nothing.
	usualPatience = 30 * time.Second
)

// Fetcher downloads artifacts. Its zero value works.
type Fetcher struct {
	// AllowHTTP permits http:// to this machine; it is never permitted to others.
	AllowHTTP bool
	// Transport carries the requests; a copy of http.DefaultTransport when nil.
	Transport http.RoundTripper
	// Patience is how long a server may send nothing; half a minute when zero.
	Patience time.Duration
	// Progress gets the number of bytes received, and of all; it may be nil.
	Progress func(current, total int64)
}

// Fetch downloads an artifact and compares its size and hash. An interrupted download
// is retried; an error of status [protocol.ExitRetryable] may pass later. into is
// empty or complete afterwards.
func (f Fetcher) Fetch(ctx context.Context, a Artifact, into *os.File) error {
	address, err := url.Parse(a.URI)
	if err != nil {
		return protocol.Invalid("the artifact has no valid URL")
	}
	pause := firstPause
	for attempt := 1; ; attempt++ {
		err := f.attempt(ctx, address, a, into)
		if err == nil {
			return nil
		}
		if e := into.Truncate(0); e != nil {
			return errors.Join(err, e)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("download %s: %w", address.Redacted(), ctx.Err())
		}
		err = fmt.Errorf("download %s: %w", address.Redacted(), err)
		if protocol.ExitCode(err) != protocol.ExitRetryable || attempt == attempts {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			pause *= 2
		}
	}
}

func (f Fetcher) attempt(ctx context.Context, address *url.URL, a Artifact, into *os.File) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	content, err := f.open(ctx, address, a)
	if err != nil {
		return err
	}
	defer content.Close()
	if _, err := into.Seek(0, io.SeekStart); err != nil {
		return err
	}
	patience := cmp.Or(f.Patience, usualPatience)
	silence := time.AfterFunc(patience, func() { cancel(protocol.Retryable("no data received for %s", patience)) })
	defer silence.Stop()
	sum := sha256.New()
	read := &meter{content: content, active: func() { silence.Reset(patience) }, progress: f.Progress, total: a.Size}
	n, err := io.Copy(io.MultiWriter(into, sum), io.LimitReader(read, a.Size+1))
	switch {
	case (err != nil || n < a.Size) && context.Cause(ctx) != nil: // our own cancellation may look like an early end
		return context.Cause(ctx)
	case err != nil && read.failed:
		return protocol.Retryable("after %d of %d bytes: %w", n, a.Size, err)
	case err != nil:
		return err
	case n < a.Size:
		return protocol.Retryable("download ended early: got %d of %d bytes", n, a.Size)
	case n > a.Size:
		return fmt.Errorf("it is larger than the %d bytes that the index lists", a.Size)
	}
	return a.verify(hex.EncodeToString(sum.Sum(nil)))
}

// open starts the download by the scheme of the address.
func (f Fetcher) open(ctx context.Context, address *url.URL, a Artifact) (io.ReadCloser, error) {
	switch address.Scheme {
	case "https", "http":
		return f.openHTTP(ctx, address, a)
	case "oci":
		return f.openOCI(ctx, address, a)
	case "file":
		if address.Host != "" && address.Host != "localhost" {
			return nil, protocol.Invalid("a file:// address must name a file on this machine: file:///path")
		}
		info, err := os.Stat(address.Path)
		if err == nil && !info.Mode().IsRegular() {
			err = fmt.Errorf("%s is not a regular file", address.Path)
		}
		if err != nil {
			return nil, err
		}
		return os.Open(address.Path)
	}
	return nil, protocol.Invalid("artifacts are downloaded by https://, oci:// or file://, not by %q", address.Scheme)
}

// meter reports the progress and the activity of a reader.
type meter struct {
	content        io.Reader
	active         func()
	progress       func(current, total int64)
	current, total int64
	// failed is set when reading fails, not writing.
	failed bool
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.content.Read(p)
	m.active()
	m.current += int64(n)
	if m.progress != nil {
		m.progress(m.current, m.total)
	}
	m.failed = err != nil && !errors.Is(err, io.EOF)
	return n, err
}
