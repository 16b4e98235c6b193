package store

import (
	"context"
	"crypto/tls"
	"errors"
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
