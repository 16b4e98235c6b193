package config

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/nationtech/harmony/pkg/protocol"
)

// Needs are the parts of a topology that a command uses.
type Needs struct {
	// OCIRegistry is set when images are named or pushed, HelmRegistry for charts.
	OCIRegistry, HelmRegistry bool
	// Targets are the targets to deploy to or to check.
	Targets []string
}

// Require reports all missing settings, each with the variable and the field of
// harmony.yaml that set it, as an error of status protocol.ExitInvalid. An unknown
// target is an error of status protocol.ExitUnsupported.
//
// A preview without a branch is of status protocol.ExitInvalid.
//
// Only the built-in ci and production require a kube context for each target. In local
// and in the project's own topologies the default is the current context, or the
// cluster that the command runs in.
func (p *Project) Require(t protocol.Topology, needs Needs) error {
	for _, target := range needs.Targets {
		found, ok := t.Targets[target]
		if !ok {
			return p.noTarget(t, target)
		}
		if found.InCluster == nil {
			continue
		}
		if _, err := found.InCluster.NamespaceOf("app"); err != nil {
			return protocol.Invalid("target %q: %w", target, err).WithHint("%s", protocol.HintOf(err))
		}
	}
	missing := p.missing(t, needs)
	if len(missing) == 0 {
		return nil
	}
	return protocol.Invalid("topology %q lacks settings:\n%s", t.Name, strings.Join(missing, "\n")).
		WithHint("set the variables, or define the Topology %s in %s", t.Name, p.file())
}

func (p *Project) missing(t protocol.Topology, needs Needs) []string {
	var missing []string
	lacks := func(field, variables string) {
		missing = append(missing, "  spec."+field+" is not set: set "+variables+", or the field in "+p.file())
	}
	if needs.OCIRegistry && lacksURL(t.OCIRegistry) {
		lacks("ociRegistry.url", EnvRegistry)
	}
	if needs.HelmRegistry && lacksURL(t.HelmRegistry) {
		lacks("helmRegistry.url", EnvChartRegistry+" or "+EnvRegistry)
	}
	if _, own := p.own(t.Name); own || t.Name != CI && t.Name != Production {
		return missing
	}
	for _, name := range needs.Targets {
		if c := t.Targets[name].InCluster; c != nil && c.Context == "" {
			lacks("targets."+name+".inCluster.context", targetEnv(name, "CONTEXT"))
		}
	}
	return missing
}

// lacksURL reports whether the provider is the suite's own adapter for a remote
// registry, and has none.
func lacksURL(r *protocol.Provider) bool {
	return r != nil && r.Adapter == "oci" && r.Plugin == "" && r.URL == ""
}

func (p *Project) noTarget(t protocol.Topology, target string) error {
	names := slices.Sorted(maps.Keys(t.Targets))
	err := protocol.Unsupported("topology %q has no target %q, %s", t.Name, target, guess(target, names))
	if len(names) == 0 && p == nil {
		return err.WithHint("run the command in the folder of a %s, whose name becomes part of the namespaces", FileName)
	}
	return err.WithHint("define targets under spec.targets of the Topology %s in %s", t.Name, p.file())
}

// checkEnvironment validates the variables that a built-in topology uses.
func checkEnvironment(t protocol.Topology, getenv func(string) string) error {
	for _, name := range []string{EnvRegistry, EnvChartRegistry} {
		if strings.Contains(getenv(name), "@") { // not shown: it may be a password
			return protocol.Invalid("%s contains credentials or a digest, but must be a registry and a prefix", name).
				WithHint("log in with docker login, crane auth login or helm registry login")
		}
	}
	var found protocol.FieldErrors
	if !errors.As(t.Validate(), &found) {
		return nil
	}
	var problems []string
	for _, f := range found {
		if f.Field == helmRegistryField && getenv(EnvChartRegistry) == "" {
			continue // made from EnvRegistry, which has the same problem
		}
		problems = append(problems, sourceOf(f.Field)+": "+f.Problem)
	}
	return protocol.Invalid("%s", strings.Join(problems, "\n"))
}

const helmRegistryField = "spec.helmRegistry.url"

// sourceOf is the variable behind a field of a built-in topology.
func sourceOf(field string) string {
	switch field {
	case "spec.ociRegistry.url":
		return EnvRegistry
	case helmRegistryField:
		return EnvChartRegistry
	}
	for _, target := range targets {
		if field == "spec.targets."+target+".inCluster.namespace" {
			return targetEnv(target, "NAMESPACE")
		}
	}
	return field
}
