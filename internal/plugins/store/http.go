package store

import (
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

// transport is that of one download. Nothing is unpacked on the way: the hash is
// that of the bytes sent.
func (f Fetcher) transport(outside bool) http.RoundTripper {
	if f.Transport != nil {
		return f.Transport
	}
	usual, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	own := usual.Clone()
	own.DisableCompression, own.ResponseHeaderTimeout = true, f.patience()
	own.DisableKeepAlives = true // nobody would ever use the connection again
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
	if err := checkResponse(response, a.Size); err != nil {
		return nil, errors.Join(err, response.Body.Close())
	}
	return response.Body, nil
}

// unreachable is an error of the connection, without the address that it
// repeats.
func unreachable(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		err = e.Err
	}
	var refused *redirect.Refused
	if errors.As(err, &refused) || isCertificate(err) {
		return err
	}
	return protocol.Retryable("%w", err)
}

func checkResponse(response *http.Response, size int64) error {
	switch code := response.StatusCode; {
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500:
		return protocol.Retryable("the server answered %s", response.Status)
	case code != http.StatusOK:
		return fmt.Errorf("the server answered %s", response.Status)
	case response.ContentLength > size:
		return fmt.Errorf("it has %d bytes, the index tells of %d", response.ContentLength, size)
	}
	return nil
}

// openOCI begins the download of a layer. The artifact's hash is the layer's
// digest, so the tag of the address is for people only: oci://host/path:1.4.0.
// Plain http is for registries on this machine only.
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

// answered tells a passing refusal of a registry from a lasting one.
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
	case code == http.StatusTooManyRequests, code == http.StatusRequestTimeout, code >= 500:
		return protocol.Retryable("%w", err)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return (&protocol.Error{Code: protocol.ExitFailed, Err: err}).WithHint("log in to the registry, for example with docker login")
	case code == http.StatusNotFound:
		return (&protocol.Error{Code: protocol.ExitFailed, Err: err}).WithHint("the registry has no layer with the hash that the index tells")
	}
	return err
}

// isCertificate reports that no second attempt will help against a server's
// certificate.
func isCertificate(err error) bool {
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &certificate)
}
