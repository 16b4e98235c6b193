package buildkit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/nationtech/harmony/internal/registry/auth"
	"github.com/nationtech/harmony/pkg/protocol"
)

type destination struct {
	host, prefix string
	guard        *auth.Guard
}

// openDestination is nil when the topology has no registry to push to.
func openDestination(p *protocol.Provider) *destination {
	if p == nil || p.Adapter != "oci" || strings.Trim(p.URL, "/") == "" {
		return nil
	}
	var d destination
	d.host, d.prefix, _ = strings.Cut(strings.Trim(p.URL, "/"), "/")
	d.guard = &auth.Guard{Host: d.host, Insecure: p.Insecure}
	return &d
}

// path puts a repository under the prefix.
func (d destination) path(repository string) string {
	return strings.TrimPrefix(d.prefix+"/"+repository, "/")
}

// isElsewhere reports that the registry's name means another machine to the builder.
func (d destination) isElsewhere(address string) bool {
	u, err := url.Parse(address)
	if err != nil || !auth.IsLoopback(d.host) || u.Scheme == "unix" {
		return false
	}
	return u.Scheme != "tcp" || !auth.IsLoopback(u.Host)
}

// errAbsent means that the builder pushed to a different registry.
var errAbsent = errors.New("what the builder pushed is not there: by this name it reaches another registry")

// verify makes sure that the image is there, as seen from here.
func (d destination) verify(ctx context.Context, repository, digest string) error {
	ref, err := name.NewDigest(d.host+"/"+d.path(repository)+"@"+digest, auth.Naming(d.guard.MayBePlain())...)
	if err != nil {
		return err
	}
	_, err = remote.Head(ref, auth.Through(d.guard, remote.WithContext(ctx))...)
	if auth.HasStatus(err, http.StatusNotFound) {
		return fmt.Errorf("%s: %w", ref, errAbsent)
	}
	return err
}

// isOutOfReach reports that the image was built but the builder has no way to
// the registry: there is no such host for it, or no answer.
func isOutOfReach(err error) bool {
	if errors.Is(err, errAbsent) {
		return true
	}
	text := err.Error()
	if !strings.Contains(text, "failed to push ") {
		return false
	}
	signs := []string{"dial tcp", "no such host", "i/o timeout", "no route to host", "connection refused", "network is unreachable"}
	return slices.ContainsFunc(signs, func(sign string) bool { return strings.Contains(text, sign) })
}
