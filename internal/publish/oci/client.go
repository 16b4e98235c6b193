// Package oci is the adapter oci of two capabilities, OCIRegistry and
// HelmRegistry: any registry that speaks the OCI distribution protocol.
//
// What it pushes becomes visible with the last request, the tag's. A push that
// was killed at any moment leaves unreferenced blobs at most, which the next
// one finds and does not send again.
package oci

import (
	"context"
	"net/http"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/nationtech/harmony/internal/publish"
	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// client speaks to one registry, under one prefix. It is safe for use by
// several goroutines.
type client struct {
	env capability.Environment
	// field is the topology's entry, for messages: spec.ociRegistry.
	field  string
	host   string
	prefix string
	// vouched is the repository for the tags of inputs; empty for that of each
	// image, which is good enough for development versions only.
	vouched string
	// naming makes names of this registry.
	naming []name.Option
	guard  *auth.Guard
	// puller only reads; a session pushes.
	puller   *remote.Puller
	flags    *publish.Flags
	patience patience
	limits   limits
	steady   *steady
	sessions sync.Map // of *session
	mounts   mounts
}

// once leaves it to steady to try again.
var once = remote.WithRetryBackoff(remote.Backoff{Steps: 1}) //nolint:gochecknoglobals // a constant

// newClient only looks at the settings. flags may be nil.
func newClient(env capability.Environment, field string, flags *publish.Flags) (*client, error) {
	url := strings.Trim(env.Provider.URL, "/")
	if url == "" {
		return nil, protocol.Unsupported("topology %q names no registry: %s.url is not set", env.Topology.Name, field).
			WithHint("set %s.url of the topology %s in harmony.yaml, or HARMONY_REGISTRY with the built-in topologies local and ci", field, env.Topology.Name)
	}
	vouched, err := env.Provider.Vouched()
	if err != nil {
		return nil, err
	}
	c := &client{env: env, field: field, flags: flags, patience: usual, limits: usualLimits, vouched: vouched}
	if env.Cache != "" {
		c.mounts = mounts(filepath.Join(env.Cache, "mounts"))
	}
	c.host, c.prefix, _ = strings.Cut(url, "/")
	c.naming = auth.Naming(env.Provider.Insecure)
	registry, err := name.NewRegistry(c.host, c.naming...)
	if err != nil {
		return nil, protocol.Invalid("topology %q: %s.url %q: %w", env.Topology.Name, field, url, err)
	}
	c.guard = &auth.Guard{Host: registry.RegistryStr(), Insecure: env.Provider.Insecure}
	c.steady = &steady{inner: c.guard, patience: func() patience { return c.patience }}
	c.puller, err = remote.NewPuller(auth.Through(c.steady, once)...)
	return c, err
}

func (c *client) path(repository string) string {
	return strings.TrimPrefix(c.prefix+"/"+repository, "/")
}

// tag is the tag of a version in a repository of this registry.
func (c *client) tag(path, version string) (name.Tag, error) {
	repository, err := name.NewRepository(c.host+"/"+path, c.naming...)
	if err != nil {
		return name.Tag{}, protocol.Invalid("%w", err)
	}
	tag, err := name.NewTag(repository.Name()+":"+protocol.TagOf(version), c.naming...)
	if err != nil {
		return name.Tag{}, protocol.Invalid("version %q makes no tag: %w", version, err)
	}
	return tag, nil
}

// session is the way into a repository, with the credentials of its own and, where
// the registry wants one, a token that is renewed when it expires.
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
	opened, _ := c.sessions.LoadOrStore(repository.Name()+" "+from, &session{})
	s := opened.(*session)
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

// Access is what a registry allows.
type Access struct {
	// Repository is the one that was asked for, with its registry. It need not
	// exist.
	Repository string
	// Source says where the credentials come from.
	Source string
	// Pull and Push are nil where it is allowed, else the reason.
	Pull, Push error
}

// probe is the repository, under the prefix, that a check asks for.
const probe = "harmony-check"

// Check asks the registry of env whether it would let harmony pull and push. It
// opens an upload, sends nothing, and cancels it: the rights in a token are less
// reliable, and a registry with passwords names none. field is the topology's
// entry, for messages.
func Check(ctx context.Context, env capability.Environment, field string) (Access, error) {
	c, err := newClient(env, field, nil)
	if err != nil {
		return Access{}, err
	}
	repository, err := name.NewRepository(c.host+"/"+c.path(probe), c.naming...)
	if err != nil {
		return Access{}, protocol.Invalid("%w", err)
	}
	return c.check(ctx, repository)
}

func (c *client) check(ctx context.Context, repository name.Repository) (Access, error) {
	found, err := auth.Find(ctx, repository)
	if err != nil {
		return Access{}, err
	}
	access := Access{Repository: repository.Name(), Source: found.Source}
	_, pull := c.puller.Head(ctx, repository.Tag(probe))
	push := c.tryPush(ctx, repository)
	if push != nil {
		access.Push = c.fail(ctx, "push to "+repository.Name(), push)
	}
	// Some refuse to tell of a repository that a push would make.
	if pull != nil && !isNotFound(pull) && !(push == nil && isRefused(pull)) {
		access.Pull = c.fail(ctx, "pull from "+repository.Name(), pull)
	}
	return access, ctx.Err()
}

func (c *client) tryPush(ctx context.Context, repository name.Repository) error {
	session, err := c.session(ctx, repository, "")
	if err != nil {
		return err
	}
	u := &upload{client: c, repository: repository, http: session.client}
	response, err := u.do(ctx, http.MethodPost, u.url("blobs/uploads/", nil), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		return refusal(response)
	}
	if err := u.follow(response); err != nil {
		return err
	}
	response, err = u.do(ctx, http.MethodDelete, u.location, nil)
	if err != nil {
		return err
	}
	// It may push, whether it may cancel or not: an upload is forgotten after a while.
	return response.Body.Close()
}
