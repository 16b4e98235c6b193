// Package download fetches plugins and their indexes from servers and registries: with
// few redirects, none of them to another scheme, and a limit to a server's silence.
package download

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/nationtech/harmony/internal/plugins/suite"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/internal/registry/redirect"
	"github.com/nationtech/harmony/internal/registry/silence"
	"github.com/nationtech/harmony/pkg/protocol"
)

// attempts is the number of attempts, with a doubling pause between them.
const attempts = 3

// Retry calls attempt again while it fails with the status protocol.ExitRetryable.
func Retry(ctx context.Context, attempt func() error) error {
	pause := 200 * time.Millisecond
	for n := 1; ; n++ {
		err := attempt()
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		if protocol.ExitCode(err) != protocol.ExitRetryable || n == attempts {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
			pause *= 2
		}
	}
}

// Transport carries downloads by inner, or by a copy of http.DefaultTransport when that
// is nil. A download from outside must not reach this machine, except the named hosts.
// It does not decompress: hashes are those of the bytes sent.
func Transport(inner http.RoundTripper, outside bool, patience time.Duration, except ...string) http.RoundTripper {
	if usual, ok := http.DefaultTransport.(*http.Transport); ok && inner == nil {
		own := usual.Clone()
		own.DisableCompression = true
		if outside {
			own = redirect.Outside(own, except...)
		}
		inner = own
	}
	return silence.Transport{Inner: cmp.Or(inner, http.DefaultTransport), Limit: patience}
}

// Get starts a download by http.
func Get(ctx context.Context, t http.RoundTripper, address string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "harmony/"+suite.Version())
	client := http.Client{Transport: t, CheckRedirect: redirect.Check}
	response, err := client.Do(request)
	if err != nil {
		return nil, Failed(err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	err = fmt.Errorf("the server returned %s", response.Status)
	return nil, errors.Join(answered(response.StatusCode, err), response.Body.Close())
}

// Registry are the options of requests to the registry of at. Plain http is only for
// registries on this machine.
func Registry(ctx context.Context, at authn.Resource, t http.RoundTripper) []remote.Option {
	guard := &auth.Guard{Host: at.RegistryStr(), Inner: redirect.Transport{Inner: t}}
	return auth.Through(guard, remote.WithContext(ctx), remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
}

// Missing is the error of a file that the server does not have.
type Missing struct{ error }

// answered gives the error of a server's status its exit status.
func answered(code int, err error) error {
	switch {
	case code == http.StatusNotFound || code == http.StatusGone:
		return Missing{err}
	case code == http.StatusTooManyRequests || code == http.StatusRequestTimeout || code >= http.StatusInternalServerError:
		return protocol.Retryable("%w", err)
	}
	return err
}

// Failed gives the error of a request its exit status: protocol.ExitRetryable if it may
// pass. It removes the address, which may contain a token.
func Failed(err error) error {
	var plain *auth.PlainRefused
	var answer *transport.Error
	var refused *redirect.Refused
	switch {
	case errors.As(err, &plain):
		return protocol.Invalid("%w", plain)
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return (&protocol.Error{Code: protocol.ExitFailed, Err: err}).
			WithHint("log in with docker login, or set HARMONY_REGISTRY_USERNAME and HARMONY_REGISTRY_PASSWORD_FILE along with HARMONY_REGISTRY")
	case errors.As(err, &answer):
		return answered(answer.StatusCode, err)
	}
	var request *url.Error
	var certificate *tls.CertificateVerificationError
	var network interface{ Timeout() bool }
	passes := errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF)
	if errors.As(err, &request) {
		err = request.Err
	}
	switch {
	case errors.As(err, &certificate):
		return (&protocol.Error{Code: protocol.ExitFailed, Err: err}).
			WithHint("this machine must trust the server's certificate (SSL_CERT_FILE adds trusted ones)")
	case passes:
		return protocol.Retryable("%w", err)
	}
	return err
}
