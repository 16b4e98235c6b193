package daemonless

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/internal/registry/redirect"
	"github.com/nationtech/harmony/internal/registry/silence"
	"github.com/nationtech/harmony/pkg/protocol"
)

// remoteFile is what ADD downloads.
type remoteFile struct {
	url, name string
	checksum  digest.Digest
}

// newRemoteFile refuses a file without a checksum: its content would not be part of the
// input, so nothing would show whether the image has to be rebuilt.
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
		return nil, protocol.Unsupported("ADD of %s has no --checksum: its content may change any day", redacted(u)).
			WithHint("add --checksum=sha256:…, as sha256sum prints it; without one %s", otherAdapters)
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
	registry := m.recipe.registry
	client := &http.Client{Transport: silence.Transport{Inner: http.DefaultTransport, Limit: m.recipe.patience}, CheckRedirect: follow}
	file, err := registry.Keep(ctx, f.checksum, func(w io.Writer) error { return f.fetch(ctx, client, w) })
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

// follow is redirect.Check, but allows a redirect from http to https.
func follow(next *http.Request, before []*http.Request) error {
	if first := before[0]; first.URL.Scheme == "http" && next.URL.Scheme == "https" {
		secured := *first
		secured.URL = &url.URL{Scheme: "https", Host: first.URL.Host}
		before = append([]*http.Request{&secured}, before[1:]...)
	}
	return redirect.Check(next, before)
}

// maxDownload is the size of the largest file that ADD downloads, in bytes.
const maxDownload = 8 << 30

// fetch downloads the file and compares its checksum.
func (f *remoteFile) fetch(ctx context.Context, client *http.Client, w io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url, nil)
	if err != nil {
		return protocol.Invalid("ADD: %w", err)
	}
	where := redacted(request.URL)
	answer, err := client.Do(request)
	if err != nil {
		return failed(ctx, where, err)
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusTooManyRequests, answer.StatusCode >= 500:
		return protocol.Retryable("download %s: %s", where, answer.Status)
	case answer.StatusCode != http.StatusOK:
		return protocol.Invalid("download %s: %s", where, answer.Status)
	case answer.ContentLength > maxDownload:
		return tooLarge(where)
	}
	verifier := f.checksum.Algorithm().Digester()
	n, err := io.Copy(io.MultiWriter(w, verifier.Hash()), io.LimitReader(answer.Body, maxDownload+1))
	switch got := verifier.Digest(); {
	case err != nil:
		return failed(ctx, where, err)
	case n > maxDownload:
		return tooLarge(where)
	case got != f.checksum:
		return protocol.Invalid("%s is %s, not %s as --checksum says", where, got, f.checksum)
	}
	return nil
}

// failed is the error of a download that was cut off.
func failed(ctx context.Context, where string, err error) error {
	var refused *redirect.Refused
	var full *fs.PathError // of the file that is written
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &refused):
		return protocol.Invalid("download %s: %w", where, refused)
	case errors.As(err, &full):
		return err
	}
	return protocol.Retryable("download %s: %w", where, cause(err))
}

func tooLarge(where string) error {
	return protocol.Invalid("download %s: larger than %d bytes", where, int64(maxDownload))
}

// cause takes the URL out of an error of the client: it may contain a secret.
func cause(err error) error {
	if e, ok := err.(*url.Error); ok {
		return fmt.Errorf("%w", e.Err)
	}
	return err
}
