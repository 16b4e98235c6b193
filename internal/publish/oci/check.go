package oci

import (
	"context"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

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

// tryPush opens an upload and cancels it.
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
