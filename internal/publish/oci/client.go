// Package oci is the adapter oci of two capabilities, OCIRegistry and
// HelmRegistry: any registry that speaks the OCI distribution protocol.
//
// What it pushes becomes visible with the last request, the tag's. A push that
// was killed at any moment leaves unreferenced blobs at most, which the next
// one finds and does not send again.
package oci

import (
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

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
	// puller and pusher are for manifests; blobs go by upload.
	puller   *remote.Puller
	pusher   *remote.Pusher
	flags    *publish.Flags
	patience patience
	steady   *steady
	sessions sessions
	mounts   mounts
}

// userAgent is how registries know us.
const userAgent = "harmony"

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
	c := &client{env: env, field: field, flags: flags, patience: usual, vouched: vouched}
	if env.Cache != "" {
		c.mounts.dir = filepath.Join(env.Cache, "mounts")
	}
	c.host, c.prefix, _ = strings.Cut(url, "/")
	if env.Provider.Insecure {
		c.naming = append(c.naming, name.Insecure)
	}
	if _, err := name.NewRegistry(c.host, c.naming...); err != nil {
		return nil, protocol.Invalid("topology %q: %s.url %q: %w", env.Topology.Name, field, url, err)
	}
	c.guard = &auth.Guard{Host: c.host, Insecure: env.Provider.Insecure, Inner: newTransport()}
	c.steady = &steady{inner: c.guard, patience: func() patience { return c.patience }}
	options := []remote.Option{
		remote.WithTransport(c.steady),
		remote.WithAuthFromKeychain(auth.Keychain()),
		remote.WithUserAgent(userAgent),
		remote.WithRetryBackoff(remote.Backoff{Steps: 1}), // steady does it
	}
	if c.puller, err = remote.NewPuller(options...); err != nil {
		return nil, err
	}
	if c.pusher, err = remote.NewPusher(options...); err != nil {
		return nil, err
	}
	return c, nil
}

// silence is how long a registry may take to answer a request that it has got
// whole. Some copy a blob to other storage in that time.
const silence = 5 * time.Minute

func newTransport() http.RoundTripper {
	t, ok := remote.DefaultTransport.(*http.Transport)
	if !ok {
		return remote.DefaultTransport
	}
	t = t.Clone()
	t.ResponseHeaderTimeout = silence
	t.WriteBufferSize = 64 << 10
	return t
}

// path puts a repository under the prefix.
func (c *client) path(repository string) string {
	if c.prefix == "" {
		return repository
	}
	return c.prefix + "/" + repository
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
