package nodeimport

import (
	"maps"
	"slices"

	"github.com/nationtech/harmony/internal/config/localcluster"
	"github.com/nationtech/harmony/internal/config/settings"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// places are where the images go, by spec.ociRegistry.settings: clusters, or a
// socket.
type places struct {
	// containerd is the path of a socket of this machine, which is then the only
	// node.
	containerd string
	// context is the kube context of a k3d or kind cluster; those of the
	// topology's targets when empty.
	context string
	// engine is the command that the clusters' containers are made by: docker, or
	// podman.
	engine   string
	clusters []localcluster.Cluster
}

func readSettings(env capability.Environment, getenv func(string) string) (places, error) {
	p := places{engine: "docker"}
	err := settings.Of(env, "ociRegistry", settings.Table{
		"containerd": settings.Text(&p.containerd), "context": settings.Text(&p.context), "engine": settings.Text(&p.engine),
	})
	if err != nil || p.containerd != "" {
		return p, err
	}
	contexts, err := p.contexts(env.Topology, getenv)
	if err != nil {
		return p, err
	}
	for _, context := range contexts {
		cluster, ok := localcluster.Of(context)
		if !ok {
			return p, protocol.Unsupported("topology %q: the kube context %q is not a k3d or kind cluster: the adapter node-import cannot reach its nodes", env.Topology.Name, context).
				WithHint("use the adapter oci with a registry, or set spec.ociRegistry.settings.containerd to the socket of a node on this machine")
		}
		p.clusters = append(p.clusters, cluster)
	}
	return p, nil
}

// contexts are the kube contexts of all that the topology deploys to.
func (p places) contexts(t protocol.Topology, getenv func(string) string) ([]string, error) {
	if p.context != "" {
		return []string{p.context}, nil
	}
	all := map[string]bool{}
	for name, target := range t.Targets {
		switch {
		case target.InCluster != nil:
			all[target.InCluster.Context] = true
		case target.MultiCluster != nil && (target.MultiCluster.Selector != "" || target.MultiCluster.ArgoCD != nil):
			return nil, protocol.Unsupported("topology %q: the adapter node-import knows the clusters of target %q only where it names their contexts", t.Name, name).
				WithHint("use the adapter oci with a registry, or name the contexts")
		case target.MultiCluster != nil:
			for _, context := range target.MultiCluster.Contexts {
				all[context] = true
			}
		}
	}
	if len(all) == 0 || all[""] {
		delete(all, "")
		current, err := localcluster.CurrentContext(getenv)
		if err != nil {
			return nil, protocol.Invalid("%w", err)
		}
		if current == "" {
			return nil, protocol.Unsupported("no current kube context: the adapter node-import cannot find its nodes").WithHint("set KUBECONFIG")
		}
		all[current] = true
	}
	return slices.Sorted(maps.Keys(all)), nil
}
