package auth

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/nationtech/harmony/internal/registry/silence"
	"github.com/nationtech/harmony/pkg/protocol"
)

const userAgent = "harmony"

// Options are those of every request to the registry of at, a repository: the
// [Guard] against plain http, which insecure allows, the credentials, and limits
// to how long the registry may be silent. There is no other way to a registry.
func Options(ctx context.Context, at authn.Resource, insecure bool, more ...remote.Option) []remote.Option {
	guard := &Guard{Host: at.RegistryStr(), Insecure: insecure}
	return Through(guard, append(more, remote.WithContext(ctx))...)
}

// Through are the [Options] of requests by t, which ends in a [Guard].
func Through(t http.RoundTripper, more ...remote.Option) []remote.Option {
	return append([]remote.Option{remote.WithTransport(t), remote.WithAuthFromKeychain(Keychain()), remote.WithUserAgent(userAgent)}, more...)
}

// Naming are the options of a name in a registry.
func Naming(insecure bool) []name.Option {
	if insecure {
		return []name.Option{name.Insecure}
	}
	return nil
}

// HasStatus reports an answer of a registry with one of the codes.
func HasStatus(err error, codes ...int) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && slices.Contains(codes, answer.StatusCode)
}

// Classify gives an error of a registry that may pass the status
// protocol.ExitRetryable.
func Classify(err error) error {
	var answer *transport.Error
	if !errors.As(err, &answer) || answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode >= http.StatusInternalServerError {
		return protocol.Retryable("%w", err)
	}
	return err
}

// answerTime is how long a registry may take to answer what it has received
// whole: some copy a blob to other storage in that time.
const answerTime = 5 * time.Minute

// shared is the transport of all guards, so that they share connections.
var shared = newTransport() //nolint:gochecknoglobals // never changed

func newTransport() http.RoundTripper {
	t := remote.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = answerTime
	t.WriteBufferSize = 64 << 10
	return silence.Transport{Inner: t}
}
