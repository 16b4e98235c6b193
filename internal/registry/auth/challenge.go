package auth

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// repositoryPath finds the repository in the path of a request.
var repositoryPath = regexp.MustCompile(`^/v2/(.+)/(?:manifests|blobs|tags|referrers)/`) //nolint:gochecknoglobals // never changed

// Open is a way to a repository, by t, which ends in a [Guard]: with the
// credentials for it and, where the registry gives out tokens, a token for the
// scopes. [Through] takes it too.
func Open(ctx context.Context, repository name.Repository, t http.RoundTripper, scopes ...string) (http.RoundTripper, error) {
	credentials, err := authn.Resolve(ctx, Keychain(), repository)
	if err != nil {
		return nil, err
	}
	return transport.NewWithContext(ctx, repository.Registry, credentials, transport.NewUserAgent(t, userAgent), scopes)
}

// logins are the ways to the repositories of a registry that asks for a token
// there, and not when it is first spoken to: one that anybody may read from says
// 200 to GET /v2/.
type logins struct {
	mu   sync.Mutex
	open map[string]http.RoundTripper
}

// loginKey is the same for requests that can share a token.
func loginKey(r *http.Request) (key, repository, scope string) {
	match := repositoryPath.FindStringSubmatch(r.URL.Path)
	if match == nil || strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
		return "", "", "" // go-containerregistry has logged in
	}
	scope = transport.PullScope
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		scope = transport.PushScope
	}
	return r.URL.Scheme + " " + match[1] + " " + scope, match[1], scope
}

// roundTrip sends the request and logs in where the answer asks for that.
func (g *Guard) roundTrip(r *http.Request) (*http.Response, error) {
	key, repository, scope := loginKey(r)
	if key == "" || r.URL.Host != g.Host {
		return g.inner().RoundTrip(r)
	}
	g.logins.mu.Lock()
	way := g.logins.open[key]
	g.logins.mu.Unlock()
	if way != nil {
		return way.RoundTrip(r.Clone(r.Context()))
	}
	response, err := g.inner().RoundTrip(r)
	if err != nil || response.StatusCode != http.StatusUnauthorized || !isBearer(response) || r.Body != nil && r.Body != http.NoBody && r.GetBody == nil {
		return response, err
	}
	response.Body.Close()
	if way, err = g.login(r, response, key, repository, scope); err != nil {
		return nil, err
	}
	return way.RoundTrip(r.Clone(r.Context()))
}

// login answers the challenge as if it had come when the registry was first
// spoken to.
func (g *Guard) login(r *http.Request, challenge *http.Response, key, path, scope string) (http.RoundTripper, error) {
	g.logins.mu.Lock()
	defer g.logins.mu.Unlock()
	if way := g.logins.open[key]; way != nil {
		return way, nil // another goroutine was faster
	}
	repository, err := name.NewRepository(g.Host+"/"+path, Naming(g.Insecure)...)
	if err != nil {
		return nil, err
	}
	way, err := Open(r.Context(), repository, roundTripper(func(next *http.Request) (*http.Response, error) {
		switch {
		case !isPing(next):
			return g.send(next)
		case next.URL.Scheme != r.URL.Scheme:
			return nil, errors.New("another scheme")
		}
		return &http.Response{StatusCode: http.StatusUnauthorized, Header: challenge.Header, Body: http.NoBody, Request: next}, nil
	}), repository.Scope(scope))
	if err != nil {
		return nil, err
	}
	if g.logins.open == nil {
		g.logins.open = map[string]http.RoundTripper{}
	}
	g.logins.open[key] = way
	return way, nil
}

// send is for requests that may be sent several times.
func (g *Guard) send(r *http.Request) (*http.Response, error) {
	if err := g.refuse(r); err != nil {
		return nil, err
	}
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.Body = body
	}
	return g.inner().RoundTrip(r)
}

func isBearer(response *http.Response) bool {
	return slices.ContainsFunc(response.Header.Values("WWW-Authenticate"), func(challenge string) bool {
		scheme, _, parameters := strings.Cut(challenge, " ")
		return parameters && strings.EqualFold(scheme, "bearer")
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
