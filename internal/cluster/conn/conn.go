// Package conn is the one way to a cluster, for every stage that talks to
// one: from a target of the topology, the kubeconfig and kubectl's flags to a
// client configuration, and from a client's error to one that says which
// server it was and whether to try again.
package conn

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/nationtech/harmony/internal/cli/nearest"
	"github.com/nationtech/harmony/pkg/protocol"
)

// Conn is a way to a namespace of a cluster.
type Conn struct {
	// Context is the kubeconfig's context in force; empty inside a pod.
	Context   string
	Namespace string
	// Config is for client-go; a user changes a copy only.
	Config *rest.Config
	// Loader is what Config was made from, for libraries that want it.
	Loader clientcmd.ClientConfig
}

// TargetOf is the target of that name, before any flag. One that the topology
// does not have, or that is not one namespace of one cluster, is an error of
// status protocol.ExitUnsupported.
func TargetOf(topology protocol.Topology, name string) (protocol.InCluster, error) {
	target, ok := topology.Targets[name]
	switch {
	case !ok:
		return protocol.InCluster{}, protocol.Unsupported("topology %q has no target %q", topology.Name, name).
			WithHint("%s", known(name, topology.Targets))
	case target.InCluster != nil:
		return *target.InCluster, nil
	case target.MultiCluster != nil:
		return protocol.InCluster{}, protocol.Unsupported("target %q is multiCluster, and this is done on one cluster at a time", name).
			WithHint("name an inCluster target")
	}
	return protocol.InCluster{}, protocol.Unsupported("target %q is an edgeDevice, which harmony does not reach: it pulls what it is to run", name)
}

// Connect opens the way to a target. It reads files only and sends nothing.
// flags may be nil. A kubeconfig that is missing or lacks the context is an
// error of status protocol.ExitInvalid.
func Connect(flags *Flags, topology protocol.Topology, target string) (*Conn, error) {
	t, err := TargetOf(topology, target)
	if err != nil {
		return nil, err
	}
	if flags == nil {
		flags = &Flags{}
	}
	conn, err := flags.connect(t.Context, t.Namespace)
	if err != nil {
		return nil, fmt.Errorf("target %q: %w", target, err)
	}
	return conn, nil
}

func (f *Flags) connect(context, namespace string) (*Conn, error) {
	loader := f.loader(context, namespace)
	raw, err := f.raw(loader)
	if err != nil {
		return nil, err
	}
	context = first(f.Context, context, raw.CurrentContext)
	if err := f.checkContext(context, raw); err != nil {
		return nil, err
	}
	config, err := loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) || errors.Is(err, rest.ErrNotInCluster) {
		return nil, protocol.Invalid("no Kubernetes cluster is configured (looked at %s)", f.searched()).
			WithHint("set KUBECONFIG, or pass --kubeconfig")
	}
	if err != nil {
		return nil, protocol.Invalid("context %q of the kubeconfig: %w", context, err)
	}
	if namespace, _, err = loader.Namespace(); err != nil {
		return nil, protocol.Invalid("context %q of the kubeconfig: %w", context, err)
	}
	// Harmony is one short client: the server's own priority and fairness is
	// the better limit.
	config.QPS, config.Burst = -1, -1
	config.UserAgent = "harmony " + rest.DefaultKubernetesUserAgent()
	config.WarningHandlerWithContext = rest.NoWarnings{}
	return &Conn{Context: context, Namespace: namespace, Config: config, Loader: loader}, nil
}

// checkContext tells a context that is not there, or that names a cluster which
// is not there: client-go would say that nothing is configured at all.
func (f *Flags) checkContext(name string, raw clientcmdapi.Config) error {
	found, ok := raw.Contexts[name]
	switch {
	case name == "":
		return nil
	case !ok && len(raw.Contexts) == 0:
		return protocol.Invalid("there is no context %q: the kubeconfig is missing or empty (looked at %s)", name, f.searched()).
			WithHint("set KUBECONFIG, or pass --kubeconfig")
	case !ok:
		return protocol.Invalid("the kubeconfig has no context %q (looked at %s)", name, f.searched()).
			WithHint("%s", known(name, raw.Contexts))
	}
	cluster := first(f.Cluster, found.Cluster)
	if _, ok := raw.Clusters[cluster]; !ok {
		return protocol.Invalid("context %q of the kubeconfig names a cluster %q that is not in it", name, cluster).
			WithHint("%s", known(cluster, raw.Clusters))
	}
	return nil
}

// searched is where a kubeconfig was looked for.
func (f *Flags) searched() string {
	if f.Kubeconfig != "" {
		return f.Kubeconfig
	}
	if path := os.Getenv(clientcmd.RecommendedConfigPathEnvVar); path != "" {
		return "KUBECONFIG=" + path
	}
	return clientcmd.RecommendedHomeFile
}

// known says which names there are, and which was probably meant.
func known[V any](name string, all map[string]V) string {
	names := slices.Sorted(maps.Keys(all))
	if len(names) == 0 {
		return "it has none"
	}
	there := "it has: " + strings.Join(names, ", ")
	if near := nearest.Name(name, names); near != "" {
		return fmt.Sprintf("did you mean %q? %s", near, there)
	}
	return there
}
