package oci

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/nationtech/harmony/internal/ocilayout"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// fail gives the error of a request its exit status and a hint. The registry's
// own words stay in it.
func (c *client) fail(ctx context.Context, doing string, err error) error {
	var answer *transport.Error
	var broken *ocilayout.Corrupt
	var hasty *impatient
	failed := &protocol.Error{Code: protocol.ExitFailed, Message: doing, Err: err}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	case errors.As(err, new(*protocol.Error)):
		return fmt.Errorf("%s: %w", doing, err)
	case errors.As(err, &broken):
		failed.Err = broken
		return failed.WithHint("the builder's cache is damaged: remove it and build again")
	case errors.As(err, &hasty):
		failed.Code, failed.Err = protocol.ExitRetryable, hasty
	case errors.As(err, &answer):
		return c.answered(failed, answer)
	case errors.As(err, new(*auth.PlainRefused)), !c.guard.MayBePlain() && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return failed.WithHint("set %s.insecure: true in the topology when the registry is meant to be spoken to by plain http", c.field)
	case errors.Is(err, syscall.ECONNREFUSED) && auth.IsLoopback(c.host):
		failed.Err = fmt.Errorf("nothing listens at %s: %w", c.host, syscall.ECONNREFUSED)
		return failed.WithHint("start one: harmony registry up")
	case isCertificate(err):
		return failed.WithHint("the registry's certificate must be one that this machine trusts (SSL_CERT_FILE adds some)")
	case isPassing(err):
		failed.Code, failed.Err = protocol.ExitRetryable, withoutURL(err)
	}
	return failed
}

// withoutURL drops the address of an upload, which is long and says nothing.
func withoutURL(err error) error {
	if request, ok := err.(*url.Error); ok { //nolint:errorlint // not one of several
		return request.Err
	}
	return err
}

// answered is for what the registry itself refused.
func (c *client) answered(failed *protocol.Error, answer *transport.Error) error {
	switch code := answer.StatusCode; {
	case hasCode(answer, transport.ManifestBlobUnknownErrorCode), code == http.StatusRequestTimeout, code == http.StatusTooManyRequests, code >= http.StatusInternalServerError:
		failed.Code = protocol.ExitRetryable
	case code == http.StatusRequestEntityTooLarge, code == http.StatusForbidden && strings.Contains(answer.Error(), "exceed"):
		return failed.WithHint("the project's quota, or the registry's limit, is reached: remove what is not used there, or have it raised")
	case code == http.StatusPreconditionFailed:
		return failed.WithHint("the registry keeps this tag as it is: release under a new version")
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return failed.WithHint("log in with docker login %s, or set HARMONY_REGISTRY_USERNAME and HARMONY_REGISTRY_PASSWORD_FILE along with HARMONY_REGISTRY; the account must be allowed to push", c.host)
	case code == http.StatusNotFound:
		return failed.WithHint("some registries want the project or repository to be made first; %s.url is %s", c.field, c.env.Provider.URL)
	}
	return failed
}

func isCertificate(err error) bool {
	return errors.As(err, new(x509.UnknownAuthorityError)) || errors.As(err, new(x509.HostnameError)) || errors.As(err, new(x509.CertificateInvalidError))
}

// isPassing reports a lost, refused or slow connection. A name that does not
// exist is a wrong setting.
func isPassing(err error) bool {
	var lookup *net.DNSError
	if errors.As(err, &lookup) {
		return !lookup.IsNotFound
	}
	var network net.Error
	return errors.As(err, new(*net.OpError)) || errors.As(err, &network) && network.Timeout() ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// hasCode reports an answer of the registry with that code.
func hasCode(err error, code transport.ErrorCode) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && slices.ContainsFunc(answer.Errors, func(d transport.Diagnostic) bool { return d.Code == code })
}
