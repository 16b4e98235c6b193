package index

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/nationtech/harmony/internal/registry/redirect"
	"github.com/nationtech/harmony/pkg/protocol"
)

// newClient makes a client for files from elsewhere: it follows few redirects, and
// none to another scheme. It has no deadline of its own. transport may be nil.
func newClient(transport http.RoundTripper) *http.Client {
	return &http.Client{Transport: transport, CheckRedirect: redirect.Check}
}

// transport is that for an index at a host: a server elsewhere that redirects to
// this machine is not followed.
func (s *Store) transport(host string) http.RoundTripper {
	usual, ok := http.DefaultTransport.(*http.Transport)
	if s.Transport != nil || !ok || redirect.IsHere(host) {
		return s.Transport
	}
	return redirect.Outside(usual.Clone(), host)
}

// requestFailed is the error of a request without an answer. What may pass is
// of status protocol.ExitRetryable; a certificate that is not trusted or a
// redirect that is refused does not.
func requestFailed(ctx context.Context, file string, err error) error {
	var refused *redirect.Refused
	var certificate *tls.CertificateVerificationError
	var large *tooLarge
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err // without the address, which may hold a token
	}
	switch {
	case errors.As(err, &large):
		return large
	case ctx.Err() != nil:
		return fmt.Errorf("fetch %s: %w", file, ctx.Err())
	case errors.As(err, &refused):
		return fmt.Errorf("fetch %s: %w", file, refused)
	case errors.As(err, &certificate):
		return (&protocol.Error{Code: protocol.ExitFailed, Err: fmt.Errorf("fetch %s: %w", file, err)}).
			WithHint("the server's certificate must be one that this machine trusts (SSL_CERT_FILE adds some)")
	}
	return protocol.Retryable("fetch %s: %w", file, err)
}
