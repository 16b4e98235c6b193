package store

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/internal/registry/redirect"
	"github.com/nationtech/harmony/pkg/protocol"
)

// transport is that of one download. It does not decompress: the hash is that of the
// bytes sent.
func (f Fetcher) transport(outside bool) http.RoundTripper {
	if f.Transport != nil {
		return f.Transport
	}
	usual, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	own := usual.Clone()
	own.DisableCompression, own.ResponseHeaderTimeout = true, cmp.Or(f.Patience, usualPatience)
	own.DisableKeepAlives = true // the connection is used once
	if outside {
		return redirect.Outside(own)
	}
	return own
}

func (f Fetcher) openHTTP(ctx context.Context, address *url.URL, a Artifact) (io.ReadCloser, error) {
	if address.Scheme == "http" && !(f.AllowHTTP && auth.IsLoopback(address.Host)) {
		err := protocol.Invalid("http:// is not safe")
		if auth.IsLoopback(address.Host) {
			return nil, err.WithHint("use https://, or allow http to this machine with --allow-http")
		}
		return nil, err.WithHint("use https://")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "harmony-plugin")
	client := http.Client{Transport: f.transport(a.Outside), CheckRedirect: redirect.Check}
	response, err := client.Do(request)
	if err != nil {
		return nil, unreachable(err)
	}
	switch {
	case passes(response.StatusCode):
		err = protocol.Retryable("the server returned %s", response.Status)
	case response.StatusCode != http.StatusOK:
		err = fmt.Errorf("the server returned %s", response.Status)
	case response.ContentLength > a.Size:
		err = fmt.Errorf("it has %d bytes, the index lists %d", response.ContentLength, a.Size)
	default:
		return response.Body, nil
	}
	return nil, errors.Join(err, response.Body.Close())
}

// passes reports whether a server's status may be another one later.
func passes(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500
}

// unreachable is a connection error, without the address that it repeats.
func unreachable(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	var refused *redirect.Refused
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &refused) || errors.As(err, &certificate) {
		return err
	}
	return protocol.Retryable("%w", err)
}

// openOCI starts the download of a layer. The artifact's hash is the layer's digest,
// so the tag in the address is only for people: oci://host/path:1.4.0. Plain http is
// only for registries on this machine.
func (f Fetcher) openOCI(ctx context.Context, address *url.URL, a Artifact) (io.ReadCloser, error) {
	reference, err := name.ParseReference(address.Host + address.Path)
	if err != nil {
		return nil, protocol.Invalid("an oci:// address names a repository, such as oci://registry.example.com/plugins/foo:1.4.0: %w", err)
	}
	guard := &auth.Guard{Host: reference.Context().RegistryStr(), Inner: redirect.Transport{Inner: f.transport(a.Outside)}}
	layer, err := remote.Layer(reference.Context().Digest("sha256:"+a.SHA256),
		auth.Through(guard, remote.WithContext(ctx), remote.WithRetryBackoff(remote.Backoff{Steps: 1}))...)
	if err != nil {
		return nil, answered(err)
	}
	content, err := layer.Compressed()
	if err != nil {
		return nil, answered(err)
	}
	return content, nil
}

// answered separates a registry's passing errors from lasting ones.
func answered(err error) error {
	var plain *auth.PlainRefused
	if errors.As(err, &plain) {
		return protocol.Invalid("%w", plain)
	}
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return unreachable(err)
	}
	switch code := answer.StatusCode; {
	case passes(code):
		return protocol.Retryable("%w", err)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return (&protocol.Error{Code: protocol.ExitFailed, Err: err}).WithHint("log in to the registry, for example with docker login")
	case code == http.StatusNotFound:
		return (&protocol.Error{Code: protocol.ExitFailed, Err: err}).WithHint("the registry has no layer with the hash that the index lists")
	}
	return err
}
