package oci

import (
	"context"
	"net/http"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/nationtech/harmony/internal/registry/auth"
)

// sessions are the ways into repositories: each with the credentials of its own
// and, where the registry wants one, a token that is renewed when it expires.
type sessions struct {
	mu   sync.Mutex
	open map[string]*session
}

type session struct {
	mu     sync.Mutex
	client *http.Client
}

// session opens the way to push to a repository and, for a mount, to pull from
// the one at the path from. Several callers share one.
func (c *client) session(ctx context.Context, repository name.Repository, from string) (*http.Client, error) {
	scopes := []string{repository.Scope(transport.PushScope)}
	if from != "" {
		scopes = append(scopes, "repository:"+from+":pull")
	}
	key := repository.Name() + " " + from
	c.sessions.mu.Lock()
	if c.sessions.open == nil {
		c.sessions.open = map[string]*session{}
	}
	s := c.sessions.open[key]
	if s == nil {
		s = &session{}
		c.sessions.open[key] = s
	}
	c.sessions.mu.Unlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, nil
	}
	auth, err := authn.Resolve(ctx, auth.Keychain(), repository)
	if err != nil {
		return nil, err
	}
	way, err := transport.NewWithContext(ctx, repository.Registry, auth, transport.NewUserAgent(c.steady, userAgent), scopes)
	if err != nil {
		return nil, err
	}
	s.client = &http.Client{Transport: way}
	return s.client, nil
}
