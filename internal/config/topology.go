package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/nationtech/harmony/internal/config/localcluster"
	"github.com/nationtech/harmony/pkg/protocol"
)

// The variables that choose a topology and fill in the built-in ones. For each
// target there are two more, such as HARMONY_STAGING_CONTEXT and
// HARMONY_STAGING_NAMESPACE.
const (
	// EnvTopology names the topology where --topology does not.
	EnvTopology = "HARMONY_TOPOLOGY"
	// EnvRegistry is the registry for images, with an optional prefix:
	// registry.example.com/fleet.
	EnvRegistry = "HARMONY_REGISTRY"
	// EnvChartRegistry is the registry for charts; EnvRegistry with /charts when
	// unset.
	EnvChartRegistry = "HARMONY_CHART_REGISTRY"
)

// LocalRegistry is the registry of the local topology where EnvRegistry is
// unset: the one that harmony-registry runs.
const LocalRegistry = "localhost:5001"

// The names of the built-in topologies.
const (
	Local      = "local"
	CI         = "ci"
	Production = "production"
)

// targets are the targets of every built-in topology.
var targets = [...]string{"staging", "production"}

// Topology returns the topology of that name: the project's own, else the
// built-in one. An empty name means that in HARMONY_TOPOLOGY, else ci where CI
// is set, else local. An unknown name is an error of status
// protocol.ExitInvalid.
//
// Settings of a built-in topology that the environment lacks stay empty;
// [Project.Require] reports them. A nil Project has only the built-in topologies.
func (p *Project) Topology(name string, getenv func(string) string) (protocol.Topology, error) {
	name, from := chooseName(name, getenv)
	project := ""
	if p != nil {
		project = p.Name
		if t, ok := p.own(name); ok {
			return t, nil
		}
	}
	t, ok, err := BuiltinTopology(name, project, getenv)
	if ok || err != nil {
		return t, err
	}
	failure := unknown("topology", name, p.topologyNames())
	if from != "" {
		failure = protocol.Invalid("%s: %w", from, failure).WithHint("%s", failure.Hint)
	}
	return protocol.Topology{}, failure
}

// chooseName is the name of the topology, and the variable that it comes from, if any.
func chooseName(name string, getenv func(string) string) (chosen, from string) {
	if name != "" {
		return name, ""
	}
	if name := getenv(EnvTopology); name != "" {
		return name, EnvTopology
	}
	if inCI(getenv("CI")) {
		return CI, "CI"
	}
	return Local, ""
}

// inCI reads the variable CI: true or 1 in most services, the service's name in some.
func inCI(value string) bool {
	on, err := strconv.ParseBool(value)
	return value != "" && (on || err != nil)
}

// own is the project's own topology of that name.
func (p *Project) own(name string) (protocol.Topology, bool) {
	if p != nil {
		for _, t := range p.Topologies {
			if t.Name == name {
				return t, true
			}
		}
	}
	return protocol.Topology{}, false
}

// topologyNames lists the project's own topologies, then the built-in ones.
func (p *Project) topologyNames() []string {
	var names []string
	if p != nil {
		for _, t := range p.Topologies {
			names = append(names, t.Name)
		}
	}
	return append(names, slices.DeleteFunc([]string{Local, CI, Production}, func(name string) bool { return slices.Contains(names, name) })...)
}

// BuiltinTopology returns the built-in topology of that name, and whether there
// is one. The targets are the namespaces <project>-staging and
// <project>-production; with an empty project those that the environment does
// not name are left out. A variable with a value that cannot be right is an
// error of status protocol.ExitInvalid.
//
//   - local builds with auto (daemonless without RUN, else docker or a
//     BuildKit), pushes to HARMONY_REGISTRY, else imports into the nodes of a k3d
//     or kind cluster when that is the current kube context, else pushes to
//     [LocalRegistry]; keeps the chart as a local path and deploys with helm to
//     the current kube context. A deploy that failed, or whose smoke checks did, is
//     not rolled back, so that the developer can look at it. Nothing is watched.
//   - ci builds with docker, pushes images and charts to HARMONY_REGISTRY, and
//     deploys with helm to a kube context for each target, where the Prometheus
//     operator watches.
//   - production builds with buildkit and deploys with argocd; the rest is as in
//     ci.
func BuiltinTopology(name, project string, getenv func(string) string) (t protocol.Topology, ok bool, err error) {
	switch name {
	case Local:
		t = local(project, getenv)
	case CI:
		t = remote("docker", "helm", project, getenv)
	case Production:
		t = remote("buildkit", "argocd", project, getenv)
	default:
		return protocol.Topology{}, false, nil
	}
	t.Name = name
	if err := checkEnvironment(t, getenv); err != nil {
		return protocol.Topology{}, true, err
	}
	return t, true, nil
}

func local(project string, getenv func(string) string) protocol.Topology {
	t := protocol.Topology{
		ContainerBuilder:   &protocol.Provider{Adapter: "auto"},
		OCIRegistry:        localImages(getenv),
		HelmRegistry:       &protocol.Provider{Adapter: "none"},
		ContinuousDelivery: &protocol.Provider{Adapter: "helm", Settings: map[string]any{"rollback": false}},
		Monitoring:         &protocol.Provider{Adapter: "none"},
		Targets:            map[string]protocol.Target{},
	}
	for _, target := range targets {
		if project != "" {
			t.Targets[target] = protocol.Target{InCluster: &protocol.InCluster{Namespace: project + "-" + target}, OnSmokeFailure: protocol.SmokeHalt}
		}
	}
	return t
}

// localImages is the registry that the environment names, else the nodes of the
// current kube context if it is a k3d or kind cluster, else the registry on this
// machine. A broken kubeconfig is reported by the adapters that need it.
func localImages(getenv func(string) string) *protocol.Provider {
	if url := registryURL(getenv(EnvRegistry)); url != "" {
		return &protocol.Provider{Adapter: "oci", URL: url}
	}
	if context, err := localcluster.CurrentContext(getenv); err == nil {
		if _, ok := localcluster.Of(context); ok {
			return &protocol.Provider{Adapter: "node-import"}
		}
	}
	return &protocol.Provider{Adapter: "oci", URL: LocalRegistry}
}

// remote is a topology that takes the registries and the clusters from the
// environment.
func remote(builder, delivery, project string, getenv func(string) string) protocol.Topology {
	images, charts := registryURL(getenv(EnvRegistry)), registryURL(getenv(EnvChartRegistry))
	if charts == "" && images != "" {
		charts = images + "/charts"
	}
	t := protocol.Topology{
		ContainerBuilder:   &protocol.Provider{Adapter: builder},
		OCIRegistry:        &protocol.Provider{Adapter: "oci", URL: images},
		HelmRegistry:       &protocol.Provider{Adapter: "oci", URL: charts},
		ContinuousDelivery: &protocol.Provider{Adapter: delivery},
		Monitoring:         &protocol.Provider{Adapter: "prometheus-operator"},
		Targets:            map[string]protocol.Target{},
	}
	for _, target := range targets {
		namespace := getenv(targetEnv(target, "NAMESPACE"))
		if namespace == "" && project != "" {
			namespace = project + "-" + target
		}
		if namespace != "" {
			t.Targets[target] = protocol.Target{InCluster: &protocol.InCluster{
				Context: getenv(targetEnv(target, "CONTEXT")), Namespace: namespace,
			}}
		}
	}
	return t
}

// targetEnv is the variable for a setting of a target: HARMONY_STAGING_CONTEXT.
func targetEnv(target, setting string) string {
	return "HARMONY_" + strings.ToUpper(strings.ReplaceAll(target, "-", "_")) + "_" + setting
}

func registryURL(value string) string {
	return strings.TrimSuffix(strings.TrimSpace(value), "/")
}
