// Package oci is the adapter oci of two capabilities, OCIRegistry and
// HelmRegistry: any registry that speaks the OCI distribution protocol.
//
// What it pushes becomes visible with the last request, the tag's. A push that
// was killed at any moment leaves unreferenced blobs at most, which the next
// one finds and does not send again.
package oci

import (
	"path/filepath"
	"strings"

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
	// puller only reads; a session pushes.
	puller   *remote.Puller
	flags    *publish.Flags
	patience patience
	steady   *steady
	sessions sessions
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
	c := &client{env: env, field: field, flags: flags, patience: usual, vouched: vouched}
	if env.Cache != "" {
		c.mounts.dir = filepath.Join(env.Cache, "mounts")
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
