package store

import (
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

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/plugins/download"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
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
	err = download.Retry(ctx, func() error {
		err := f.attempt(ctx, address, a, into)
		if err != nil {
			err = errors.Join(err, into.Truncate(0))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("download %s: %w", address.Redacted(), err)
	}
	return nil
}

func (f Fetcher) attempt(ctx context.Context, address *url.URL, a Artifact, into *os.File) error {
	content, err := f.open(ctx, address, a)
	if err != nil {
		return err
	}
	defer content.Close()
	if _, err := into.Seek(0, io.SeekStart); err != nil {
		return err
	}
	sum := sha256.New()
	read := &meter{content: content, progress: f.Progress, total: a.Size}
	n, err := io.Copy(io.MultiWriter(into, sum), io.LimitReader(read, a.Size+1))
	switch {
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

func (f Fetcher) openHTTP(ctx context.Context, address *url.URL, a Artifact) (io.ReadCloser, error) {
	if address.Scheme == "http" && !(f.AllowHTTP && auth.IsLoopback(address.Host)) {
		err := protocol.Invalid("http:// is not safe")
		if auth.IsLoopback(address.Host) {
			return nil, err.WithHint("use https://, or allow http to this machine with --allow-http")
		}
		return nil, err.WithHint("use https://")
	}
	response, err := download.Get(ctx, f.transport(a), address.String())
	if err != nil {
		return nil, err
	}
	if response.ContentLength > a.Size {
		err := fmt.Errorf("it has %d bytes, the index lists %d", response.ContentLength, a.Size)
		return nil, errors.Join(err, response.Body.Close())
	}
	return response.Body, nil
}

func (f Fetcher) transport(a Artifact) http.RoundTripper {
	return download.Transport(f.Transport, a.Outside, f.Patience)
}

// openOCI starts the download of a layer. The artifact's hash is the layer's digest,
// so the tag in the address is only for people: oci://host/path:1.4.0.
func (f Fetcher) openOCI(ctx context.Context, address *url.URL, a Artifact) (io.ReadCloser, error) {
	reference, err := name.ParseReference(address.Host + address.Path)
	if err != nil {
		return nil, protocol.Invalid("an oci:// address names a repository, such as oci://registry.example.com/plugins/foo:1.4.0: %w", err)
	}
	at := reference.Context()
	layer, err := remote.Layer(at.Digest("sha256:"+a.SHA256), download.Registry(ctx, at, f.transport(a))...)
	if err != nil {
		return nil, download.Failed(err)
	}
	content, err := layer.Compressed()
	if err == nil {
		return content, nil
	}
	err = download.Failed(err)
	if errors.As(err, &download.Missing{}) {
		return nil, (&protocol.Error{Code: protocol.ExitFailed, Err: err}).WithHint("the registry has no layer with the hash that the index lists")
	}
	return nil, err
}

// meter reports the progress of a reader.
type meter struct {
	content        io.Reader
	progress       func(current, total int64)
	current, total int64
	// failed is set when reading fails, not writing.
	failed bool
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.content.Read(p)
	m.current += int64(n)
	if m.progress != nil {
		m.progress(m.current, m.total)
	}
	m.failed = err != nil && !errors.Is(err, io.EOF)
	return n, err
}
