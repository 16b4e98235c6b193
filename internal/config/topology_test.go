package config_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nationtech/harmony/internal/config"
	"github.com/nationtech/harmony/pkg/protocol"
)

type environment map[string]string

func (e environment) get(name string) string { return e[name] }

func TestBuiltinTopologies(t *testing.T) {
	full := environment{
		"HARMONY_REGISTRY":            "registry.example.com/fleet/",
		"HARMONY_STAGING_CONTEXT":     "stage",
		"HARMONY_PRODUCTION_CONTEXT":  "prod",
		"HARMONY_STAGING_NAMESPACE":   "elsewhere",
		"HARMONY_EDGE_SITE_NAMESPACE": "unused",
	}
	charts := environment{"HARMONY_REGISTRY": "a.example.com", "HARMONY_CHART_REGISTRY": "b.example.com/c"}
	for _, test := range []struct {
		name, project string
		env           environment
		want          string
	}{
		{"local", "shop", nil, `{"containerBuilder":{"adapter":"auto"},"ociRegistry":{"adapter":"oci","url":"localhost:5001"},"helmRegistry":{"adapter":"none"},"continuousDelivery":{"adapter":"helm","settings":{"rollback":false}},"monitoring":{"adapter":"none"},"targets":{"production":{"inCluster":{"namespace":"shop-production"},"onSmokeFailure":"halt"},"staging":{"inCluster":{"namespace":"shop-staging"},"onSmokeFailure":"halt"}}}`},
		{"local", "", environment{"HARMONY_REGISTRY": "127.0.0.1:5000/x"}, `{"containerBuilder":{"adapter":"auto"},"ociRegistry":{"adapter":"oci","url":"127.0.0.1:5000/x"},"helmRegistry":{"adapter":"none"},"continuousDelivery":{"adapter":"helm","settings":{"rollback":false}},"monitoring":{"adapter":"none"}}`},
		{"ci", "shop", full, `{"containerBuilder":{"adapter":"docker"},"ociRegistry":{"adapter":"oci","url":"registry.example.com/fleet"},"helmRegistry":{"adapter":"oci","url":"registry.example.com/fleet/charts"},"continuousDelivery":{"adapter":"helm"},"monitoring":{"adapter":"prometheus-operator"},"targets":{"production":{"inCluster":{"context":"prod","namespace":"shop-production"}},"staging":{"inCluster":{"context":"stage","namespace":"elsewhere"}}}}`},
		{"production", "", charts, `{"containerBuilder":{"adapter":"buildkit"},"ociRegistry":{"adapter":"oci","url":"a.example.com"},"helmRegistry":{"adapter":"oci","url":"b.example.com/c"},"continuousDelivery":{"adapter":"argocd"},"monitoring":{"adapter":"prometheus-operator"}}`},
	} {
		topology, ok, err := config.BuiltinTopology(test.name, test.project, test.env.get)
		if err != nil || !ok {
			t.Errorf("%s: %t, %v", test.name, ok, err)
			continue
		}
		got, err := json.Marshal(topology)
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", test.name, err, got, test.want)
		}
		if topology.Name != test.name {
			t.Errorf("%s is called %q", test.name, topology.Name)
		}
	}
}

// Without a registry that is named, images go to the nodes of a local cluster.
func TestLocalTopologyImports(t *testing.T) {
	dir := t.TempDir()
	for context, want := range map[string]string{"k3d-dev": "node-import", "kind-kind": "node-import", "staging": "oci"} {
		file := filepath.Join(dir, context)
		if err := os.WriteFile(file, []byte("current-context: "+context+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		topology, _, err := config.BuiltinTopology("local", "shop", environment{"KUBECONFIG": file}.get)
		if err != nil || topology.OCIRegistry.Adapter != want {
			t.Errorf("%s: got %+v, %v", context, topology.OCIRegistry, err)
		}
		topology, _, err = config.BuiltinTopology("local", "shop", environment{"KUBECONFIG": file, "HARMONY_REGISTRY": "a.example.com"}.get)
		if err != nil || topology.OCIRegistry.Adapter != "oci" {
			t.Errorf("%s with a registry: got %+v, %v", context, topology.OCIRegistry, err)
		}
	}
}

func TestBuiltinTopologyRefusesVariables(t *testing.T) {
	for _, test := range []struct{ variable, value, says string }{
		{"HARMONY_REGISTRY", "https://registry.example.com", "HARMONY_REGISTRY: "},
		{"HARMONY_CHART_REGISTRY", "a b", "HARMONY_CHART_REGISTRY: "},
		{"HARMONY_STAGING_NAMESPACE", "Not_One", "HARMONY_STAGING_NAMESPACE: "},
		{"HARMONY_REGISTRY", "robot:s3cret@registry.example.com", "HARMONY_REGISTRY contains credentials"},
	} {
		_, _, err := config.BuiltinTopology("ci", "shop", environment{test.variable: test.value}.get)
		if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.HasPrefix(err.Error(), test.says) {
			t.Errorf("%s=%s: %v, want %s…", test.variable, test.value, err, test.says)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error shows a password: %v", err)
		}
	}
}

const ownTopologies = `
---
{apiVersion: harmony.nationtech.io/v1, kind: Topology, metadata: {name: ci}, spec: {ociRegistry: {adapter: oci}, targets: {staging: {inCluster: {namespace: own}}}}}
---
{apiVersion: harmony.nationtech.io/v1, kind: Topology, metadata: {name: edge}, spec: {}}
`

func TestTopologyIsChosen(t *testing.T) {
	own := load(t, "shop", app("shop", "")+ownTopologies)
	for _, test := range []struct {
		what    string
		project *config.Project
		name    string
		env     environment
		want    string // the topology, or what the error says
	}{
		{"default", nil, "", nil, "local"},
		{"CI=true", nil, "", environment{"CI": "true"}, "ci"},
		{"CI=woodpecker", nil, "", environment{"CI": "woodpecker"}, "ci"},
		{"CI=false", nil, "", environment{"CI": "false"}, "local"},
		{"variable over CI", nil, "", environment{"CI": "1", "HARMONY_TOPOLOGY": "production"}, "production"},
		{"name over variable", own, "edge", environment{"HARMONY_TOPOLOGY": "production"}, "edge"},
		{"own over built-in", own, "ci", nil, "ci"},
		{"unknown", own, "egde", nil, `no topology "egde", did you mean edge?`},
		{"unknown variable", nil, "", environment{"HARMONY_TOPOLOGY": "moon"}, `HARMONY_TOPOLOGY: no topology "moon"`},
	} {
		topology, err := test.project.Topology(test.name, test.env.get)
		if err != nil {
			if protocol.ExitCode(err) != protocol.ExitInvalid || err.Error() != test.want || !strings.Contains(protocol.HintOf(err), "local") {
				t.Errorf("%s: %v (%s), want %s", test.what, err, protocol.HintOf(err), test.want)
			}
			continue
		}
		if topology.Name != test.want {
			t.Errorf("%s: %s, want %s", test.what, topology.Name, test.want)
		}
		if isOwn := topology.ContainerBuilder == nil; isOwn != (test.project == own) {
			t.Errorf("%s: the topology is the project's own: %t", test.what, isOwn)
		}
	}
}

func TestRequire(t *testing.T) {
	own := load(t, "shop", app("shop", "")+ownTopologies)
	plain := load(t, "shop", app("shop", ""))
	all := config.Needs{OCIRegistry: true, HelmRegistry: true, Targets: []string{"staging", "production"}}
	complete := environment{"HARMONY_REGISTRY": "r.example.com", "HARMONY_STAGING_CONTEXT": "a", "HARMONY_PRODUCTION_CONTEXT": "b"}
	noProduction := maps.Clone(complete)
	delete(noProduction, "HARMONY_PRODUCTION_CONTEXT")
	for _, test := range []struct {
		what     string
		project  *config.Project
		topology string
		env      environment
		needs    config.Needs
		code     int
		says     []string
	}{
		{"local needs nothing", plain, "local", nil, all, 0, nil},
		{"ci complete", plain, "ci", complete, all, 0, nil},
		{"ci empty", plain, "ci", nil, all, 2, []string{
			"spec.ociRegistry.url is not set: set HARMONY_REGISTRY,", "spec.helmRegistry.url is not set: set HARMONY_CHART_REGISTRY or HARMONY_REGISTRY,",
			"spec.targets.staging.inCluster.context is not set: set HARMONY_STAGING_CONTEXT,", "HARMONY_PRODUCTION_CONTEXT"}},
		{"ci, only what is used", plain, "ci", noProduction, config.Needs{Targets: []string{"staging"}}, 0, nil},
		{"production without a context", plain, "production", noProduction, all, 2, []string{"HARMONY_PRODUCTION_CONTEXT"}},
		{"own: a context may be absent", own, "ci", nil, config.Needs{Targets: []string{"staging"}}, 0, nil},
		{"own: a URL may not", own, "ci", nil, config.Needs{OCIRegistry: true, HelmRegistry: true}, 2, []string{"spec.ociRegistry.url"}},
		{"no such target", own, "ci", nil, config.Needs{Targets: []string{"stagin"}}, 3, []string{`topology "ci" has no target "stagin", did you mean staging?`}},
		{"no project", nil, "local", nil, config.Needs{Targets: []string{"staging"}}, 3, []string{`topology "local" has no target "staging"`}},
	} {
		topology, err := test.project.Topology(test.topology, test.env.get)
		if err != nil {
			t.Fatal(err)
		}
		err = test.project.Require(topology, test.needs)
		if protocol.ExitCode(err) != test.code {
			t.Errorf("%s: exit code %d, %v", test.what, protocol.ExitCode(err), err)
		}
		for _, text := range test.says {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %v does not say %q", test.what, err, text)
			}
		}
	}
}

func TestSelect(t *testing.T) {
	fleet := load(t, "fleet", app("fleet-agent", "")+app("fleet-operator", "")+app("shop", ""))
	single := load(t, "shop", app("shop", ""))
	for _, test := range []struct {
		project  *config.Project
		patterns string
		want     string // the apps, or what the error says
		fails    bool
	}{
		{fleet, "shop fleet-agent", "fleet-agent shop", false},
		{fleet, "fleet-*", "fleet-agent fleet-operator", false},
		{fleet, "* shop *-agent", "fleet-agent fleet-operator shop", false},
		{fleet, "[a-f]*t", "fleet-agent", false},
		{single, "", "shop", false},
		{fleet, "", "which app?", true},
		{nil, "", "there is no app in harmony.yaml", true},
		{nil, "shop", `no app "shop"`, true},
		{fleet, "fleet-agnet", `no app "fleet-agnet", did you mean fleet-agent?`, true},
		{fleet, "shop zebra-*", `no app matches "zebra-*"`, true},
		{fleet, "[", `"[" is not a glob`, true},
	} {
		apps, err := test.project.Select(strings.Fields(test.patterns))
		if test.fails {
			if protocol.ExitCode(err) != protocol.ExitInvalid || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("Select(%s): %v, want %s…", test.patterns, err, test.want)
			}
			continue
		}
		var names []string
		for _, app := range apps {
			names = append(names, app.Name)
		}
		if got := strings.Join(names, " "); err != nil || got != test.want {
			t.Errorf("Select(%s) = %s, %v; want %s", test.patterns, got, err, test.want)
		}
	}
}

func TestProjectName(t *testing.T) {
	for folder, want := range map[string]string{
		"fleet": "fleet", "My Shop": "my-shop", "--a__b--": "a-b", "日本": "project", "Ünit1": "nit1",
		strings.Repeat("abcdefghij", 6): strings.Repeat("abcdefghij", 5) + "ab",
	} {
		p := load(t, folder, app("shop", ""))
		if p.Name != want {
			t.Errorf("the project in %q is called %q, want %q", folder, p.Name, want)
		}
		if _, err := p.Topology("local", environment{}.get); err != nil {
			t.Errorf("%q: %v", folder, err)
		}
	}
}
