package daemonless

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/pkg/protocol"
)

// remoteFile is what ADD downloads.
type remoteFile struct {
	url, name string
	checksum  digest.Digest
}

// newRemoteFile refuses a file without a checksum: what it is would not be a
// part of the input, so that nobody could tell whether the image is to be built
// again.
func newRemoteFile(source, checksum string) (*remoteFile, error) {
	if !strings.HasPrefix(source, "http") {
		return nil, protocol.Unsupported("ADD of what is neither http nor https needs another builder").WithHint(otherAdapters)
	}
	u, err := url.Parse(source)
	if err != nil {
		return nil, protocol.Invalid("ADD: %w", cause(err))
	}
	if strings.HasSuffix(u.Path, ".git") {
		return nil, protocol.Unsupported("ADD of %s needs a builder that has git", redacted(u)).WithHint(otherAdapters)
	}
	if checksum == "" {
		return nil, protocol.Unsupported("ADD of %s has no --checksum: what it is today is not what it may be tomorrow", redacted(u)).
			WithHint("add --checksum=sha256:…, as sha256sum tells it; without one %s", otherAdapters)
	}
	sum, err := digest.Parse(checksum)
	if err != nil {
		return nil, protocol.Invalid("--checksum=%s: %w", checksum, err)
	}
	name := path.Base(u.Path)
	if name == "." || name == "/" {
		name = "__unnamed__"
	}
	return &remoteFile{url: source, name: name, checksum: sum}, nil
}

// redacted is a URL without what may be secret in it.
func redacted(u *url.URL) string {
	short := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return short.String()
}

// download is the file of a URL, from the cache where it was downloaded before.
func (m *maker) download(ctx context.Context, f *remoteFile) (piece, error) {
	file, err := m.recipe.registry.Keep(f.checksum, func(w io.Writer) error { return f.fetch(ctx, w) })
	if err != nil {
		return piece{}, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return piece{}, err
	}
	n := &node{entry: ocilayout.Entry{Type: tar.TypeReg, Mode: 0o600, Size: info.Size()}}
	n.entry.Open = func() (io.ReadCloser, error) { return os.Open(file) }
	return piece{name: f.name, items: []item{{node: n}}}, nil
}

// fetch downloads the file and compares its checksum.
func (f *remoteFile) fetch(ctx context.Context, w io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return protocol.Invalid("ADD: %w", err)
	}
	where := redacted(request.URL)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return protocol.Retryable("download %s: %w", where, cause(err))
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusTooManyRequests, answer.StatusCode >= 500:
		return protocol.Retryable("download %s: %s", where, answer.Status)
	case answer.StatusCode != http.StatusOK:
		return protocol.Invalid("download %s: %s", where, answer.Status)
	}
	verifier := f.checksum.Algorithm().Digester()
	if _, err := io.Copy(io.MultiWriter(w, verifier.Hash()), answer.Body); err != nil {
		return protocol.Retryable("download %s: %w", where, err)
	}
	if got := verifier.Digest(); got != f.checksum {
		return protocol.Invalid("%s is %s, not %s as --checksum says", where, got, f.checksum)
	}
	return nil
}

// cause takes the URL out of an error of the client: it may hold a secret.
func cause(err error) error {
	if e, ok := err.(*url.Error); ok {
		return fmt.Errorf("%w", e.Err)
	}
	return err
}
