package build

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

// patience is how long the registry is waited for before the image is simply
// built.
const patience = 10 * time.Second

// published finds images in the topology's registry by their input.
type published struct {
	host, prefix string
	guard        *auth.Guard
	naming       []name.Option
}

// openPublished is nil for a topology whose images are in no registry that can
// be asked.
func openPublished(p *protocol.Provider) (*published, error) {
	if p == nil || p.Adapter != "oci" || strings.Trim(p.URL, "/") == "" {
		return nil, nil
	}
	r := &published{}
	r.host, r.prefix, _ = strings.Cut(strings.Trim(p.URL, "/"), "/")
	r.guard = &auth.Guard{Host: r.host, Insecure: p.Insecure, Inner: remote.DefaultTransport}
	if p.Insecure {
		r.naming = append(r.naming, name.Insecure)
	}
	if _, err := name.NewRegistry(r.host, r.naming...); err != nil {
		return nil, protocol.Invalid("topology: spec.ociRegistry.url %q: %w", p.URL, err)
	}
	return r, nil
}

// path puts a repository under the prefix.
func (r *published) path(repository string) string {
	return strings.TrimPrefix(r.prefix+"/"+repository, "/")
}

// find asks for the tag of the input. Nothing is downloaded.
func (r *published) find(ctx context.Context, repository, input string) (sum string, found bool, err error) {
	tag, err := name.NewTag(r.host+"/"+r.path(repository)+":"+protocol.InputTag(input), r.naming...)
	if err != nil {
		return "", false, err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	head, err := remote.Head(tag, remote.WithContext(ctx), remote.WithAuthFromKeychain(auth.Keychain()),
		remote.WithTransport(r.guard), remote.WithUserAgent("harmony"), remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
	var answer *transport.Error
	switch {
	case err == nil:
		return head.Digest.String(), true, nil
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return "", false, nil
	}
	return "", false, err
}

// findPublished looks for the image in the registry. A registry that does not
// answer only costs a build.
func (j *job) findPublished(ctx context.Context, ref protocol.ImageRef) (protocol.ImageRef, bool, error) {
	if j.published == nil {
		return ref, false, nil
	}
	sum, found, err := j.published.find(ctx, ref.Repository, ref.InputDigest)
	switch {
	case ctx.Err() != nil:
		return ref, false, fmt.Errorf("look for the image in %s: %w", j.published.host, ctx.Err())
	case err != nil:
		j.tell("look", "%s was not asked whether it has the image: %v", j.published.host, err)
		return ref, false, nil
	case !found:
		return ref, false, nil
	}
	ref.Registry, ref.Repository, ref.Digest = j.published.host, j.published.path(ref.Repository), sum
	ref.Location, ref.Insecure, ref.Unchanged = protocol.InRegistry, j.published.guard.Plain(), true
	j.explainFound(ref)
	return ref, true, nil
}
