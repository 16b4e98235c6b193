package oci

import (
	"context"
	"net/http"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
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
	client *http.Client // for blobs
	// puller and pusher are for manifests.
	puller *remote.Puller
	pusher *remote.Pusher
}

// reader is the way to read the manifests of a repository. Who may push is also
// told that there is no such repository yet.
func (c *client) reader(ctx context.Context, repository name.Repository) (*remote.Puller, error) {
	if c.env.DryRun {
		return c.puller, nil
	}
	s, err := c.session(ctx, repository, "")
	if err != nil {
		return nil, err
	}
	return s.puller, nil
}

// session opens the way to push to a repository and, for a mount, to pull from
// the one at the path from. Several callers share one.
func (c *client) session(ctx context.Context, repository name.Repository, from string) (*session, error) {
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
		return s, nil
	}
	way, err := auth.Open(ctx, repository, c.steady, scopes...)
	if from != "" && isRefused(err) {
		return c.session(ctx, repository, "") // no token for what may not be mounted
	}
	if err != nil {
		return nil, err
	}
	if s.puller, err = remote.NewPuller(auth.Through(way, once)...); err != nil {
		return nil, err
	}
	if s.pusher, err = remote.NewPusher(auth.Through(way, once)...); err != nil {
		return nil, err
	}
	s.client = &http.Client{Transport: way}
	return s, nil
}
