package conn

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Explain adds the server to an error of the API, and the exit status: a
// server that cannot be reached or is busy is protocol.ExitRetryable. A
// cancelled context and an error that is explained already stay what they are.
func (c *Conn) Explain(err error) error {
	var explained *protocol.Error
	switch {
	case err == nil || errors.As(err, &explained) || errors.Is(err, context.Canceled):
		return err
	case apierrors.IsUnauthorized(err):
		return &protocol.Error{
			Code: protocol.ExitFailed, Err: fmt.Errorf("%s does not accept the credentials%s: %w", c.Config.Host, c.of(), err),
			Hint: "log in again, or choose another context with --context",
		}
	case passing(err):
		return protocol.Retryable("API server %s cannot be reached: %w", c.Config.Host, cause(err)).
			WithHint("is the cluster running, and the context right%s?", c.of())
	case busy(err):
		return protocol.Retryable("API server %s: %w", c.Config.Host, err)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%s: %w", c.Config.Host, err)
	}
	return err
}

func (c *Conn) of() string {
	if c.Context == "" {
		return ""
	}
	return fmt.Sprintf(" of context %q", c.Context)
}

// Terminating reports that the namespace is being deleted, after which a request
// can succeed, but not soon.
func Terminating(err error) bool {
	return apierrors.HasStatusCause(err, namespaceTerminating) || errors.Is(err, ErrTerminating)
}

// ErrTerminating is what a namespace is that is being deleted.
var ErrTerminating = errors.New("is being deleted")

// namespaceTerminating is the cause that the API server gives for refusing an
// object in a namespace that is being deleted.
const namespaceTerminating metav1.CauseType = "NamespaceTerminating"

// busy reports an answer of the server that a later request may not get.
func busy(err error) bool {
	return apierrors.IsServiceUnavailable(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsInternalError(err) && !broken(err) ||
		apierrors.HasStatusCause(err, namespaceTerminating)
}

// broken reports an admission webhook that fails for another reason than that its
// server is away: whoever repeats the request gets the same answer.
func broken(err error) bool {
	text := err.Error()
	return strings.Contains(text, "failed calling webhook") && !slices.ContainsFunc(
		[]string{"connection refused", "connection reset", "no endpoints available", "imeout", "deadline exceeded", "EOF", "no route to host"},
		func(away string) bool { return strings.Contains(text, away) })
}

// passing reports that there was no answer at all. A certificate that does not
// hold is not passing.
func passing(err error) bool {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		network  net.Error
		dns      *net.DNSError
	)
	if errors.As(err, &unknown) || errors.As(err, &hostname) || errors.As(err, &invalid) {
		return false
	}
	return errors.As(err, &dns) || errors.As(err, &network) && network.Timeout() ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// cause leaves out the request's method and URL, which say nothing more.
func cause(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}
