package command

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"net"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// vet holds the documents of a stream, which may come from another machine, to
// what was said on this one: a topology that was named is not replaced by another,
// and the registry's credentials in the environment do not go over plain http
// because a document allows it.
func (f *commandLine) vet(ctx context.Context, s protocol.Spec) error {
	switch d := s.(type) {
	case protocol.Topology:
		if err := f.vetTopology(ctx, d); err != nil {
			return err
		}
		for _, c := range d.Provided() {
			if err := f.vetPlain(ctx, c.Provider.URL, c.Provider.Insecure); err != nil {
				return err
			}
		}
	case protocol.ImageRef:
		for _, image := range d.All() {
			if err := f.vetPlain(ctx, image.Registry, image.Insecure); err != nil {
				return err
			}
		}
	case protocol.ChartRef:
		return f.vetPlain(ctx, d.URL, d.Insecure)
	}
	return nil
}

// vetTopology refuses a topology that is not the one that --topology names: by its
// name, or in what this stage uses of it.
func (f *commandLine) vetTopology(ctx context.Context, t protocol.Topology) error {
	if f.ask.Topology == "" {
		return nil
	}
	const hint = "without --topology the stream's own is used"
	if t.Name != f.ask.Topology {
		return protocol.Invalid("the stream is for topology %q, but --topology names %q", t.Name, f.ask.Topology).WithHint(hint)
	}
	if own, err := f.project.Topology(ctx, f.ask); err == nil && !bytes.Equal(f.used(t), f.used(own)) {
		return protocol.Invalid("topology %q of the stream differs from the one configured here", t.Name).WithHint(hint)
	}
	return nil
}

// used is what the stage uses of a topology.
func (f *commandLine) used(t protocol.Topology) []byte {
	providers := map[string]protocol.Provider{}
	for _, c := range t.Provided() {
		if _, ok := f.stage.Capabilities[c.Capability]; ok {
			providers[c.Capability] = c.Provider
		}
	}
	targets := t.Targets
	if f.ask.Target != "" {
		targets = map[string]protocol.Target{f.ask.Target: t.Targets[f.ask.Target]}
	}
	text, err := json.Marshal([]any{providers, targets, t.Smoke})
	if err != nil {
		return nil // it came from JSON or YAML
	}
	return text
}

// vetPlain refuses plain http to a registry whose credentials are in the
// environment, unless the topology configured here allows it too.
func (f *commandLine) vetPlain(ctx context.Context, url string, plain bool) error {
	env := f.streams.Getenv
	host := hostOf(url)
	if !plain || isLoopback(host) || host != hostOf(env("HARMONY_REGISTRY")) ||
		cmp.Or(env("HARMONY_REGISTRY_USERNAME"), env("HARMONY_REGISTRY_PASSWORD"), env("HARMONY_REGISTRY_PASSWORD_FILE")) == "" {
		return nil
	}
	if own, err := f.project.Topology(ctx, f.ask); err == nil {
		for _, c := range own.Provided() {
			if c.Provider.Insecure && hostOf(c.Provider.URL) == host {
				return nil
			}
		}
	}
	return protocol.Invalid("the stream allows plain http to %s, which would send it the password in the environment unencrypted", host).
		WithHint("set insecure for that registry in this project's topology, or unset HARMONY_REGISTRY_USERNAME")
}

// hostOf is the host of a registry, with its port.
func hostOf(url string) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(url, "oci://"), "/")
	return strings.ToLower(host)
}

func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return host == "localhost" || net.ParseIP(strings.Trim(host, "[]")).IsLoopback()
}
