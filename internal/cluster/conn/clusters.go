package conn

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/nationtech/harmony/pkg/protocol"
)

// LabelsExtension is the name of the extension of a kubeconfig's context whose
// fields are the context's labels.
const LabelsExtension = "harmony.nationtech.io/labels"

// Cluster is one of those of a target.
type Cluster struct {
	// Name is that of the kubeconfig's context, or Argo CD's for the cluster; "" is
	// the one of a target that is not multiCluster.
	Name string
	// Server is the API server's URL, as the kubeconfig or Argo CD has it; "" where
	// Name is.
	Server string

	namespace string
	flags     *Flags
	refused   error
}

// Flags open the way to this cluster, whatever context a target names. A cluster
// that only Argo CD can reach is an error of status protocol.ExitUnsupported.
func (c Cluster) Flags() (*Flags, error) { return c.flags, c.refused }

// Topology is one in which the target is this cluster alone.
func (c Cluster) Topology(t protocol.Topology, target string) protocol.Topology {
	if c.Name == "" {
		return t
	}
	one := t.Targets[target]
	one.MultiCluster, one.InCluster = nil, &protocol.InCluster{Context: c.Name, Namespace: c.namespace}
	t.Targets = maps.Clone(t.Targets)
	t.Targets[target] = one
	return t
}

// Clusters are those of a target, in its order; of one that is not multiCluster
// a single one without a name. The files are read once, and Argo CD is asked
// where the target wants that. Flags.Context limits them to the one of that
// name. A target without clusters is an error of status
// protocol.ExitUnsupported.
func Clusters(ctx context.Context, flags *Flags, topology protocol.Topology, target string) ([]Cluster, error) {
	if flags == nil {
		flags = &Flags{}
	}
	multi := topology.Targets[target].MultiCluster
	if multi == nil {
		return []Cluster{{flags: flags}}, nil
	}
	found, err := flags.clusters(ctx, *multi)
	if err != nil {
		return nil, fmt.Errorf("target %q: %w", target, err)
	}
	if len(found) == 0 {
		return nil, protocol.Unsupported("target %q has no clusters: no context and no cluster of Argo CD has the labels that its selectors ask for", target).
			WithHint("the labels of a context are its extension %s; see docs/multi-cluster.md", LabelsExtension)
	}
	if flags.Context == "" {
		return found, nil
	}
	names := map[string]bool{}
	for _, c := range found {
		if c.Name == flags.Context {
			return []Cluster{c}, nil
		}
		names[c.Name] = true
	}
	return nil, protocol.Invalid("--context %s is not one of the clusters of target %q", flags.Context, target).WithHint("%s", known(flags.Context, names))
}

func (f *Flags) clusters(ctx context.Context, multi protocol.MultiCluster) ([]Cluster, error) {
	if cmp.Or(f.Cluster, f.User, f.Server, f.ServerName, f.CAFile, f.CertFile, f.KeyFile) != "" || f.Insecure {
		return nil, protocol.Invalid("it is multiCluster, and --server, --cluster, --user and the flags of certificates are of one cluster").
			WithHint("--context limits the work to one of its clusters")
	}
	// The file is for who asks for another context of it, as Argo CD's.
	shared := Flags{Kubeconfig: f.Kubeconfig, Namespace: f.Namespace, As: f.As, AsUID: f.AsUID, AsGroups: f.AsGroups, Timeout: f.Timeout}
	made := maker{shared: shared, namespace: multi.Namespace}
	if err := made.fromKubeconfig(f, multi); err != nil {
		return nil, err
	}
	if multi.ArgoCD != nil {
		if err := made.fromArgoCD(ctx, f, *multi.ArgoCD); err != nil {
			return nil, err
		}
	}
	return made.clusters, nil
}

type maker struct {
	shared    Flags
	namespace string
	clusters  []Cluster
}

// add adds a cluster by its part of a kubeconfig.
func (m *maker) add(name string, cluster clientcmdapi.Cluster, user *clientcmdapi.AuthInfo, refused error) error {
	if i := slices.IndexFunc(m.clusters, func(c Cluster) bool { return c.Name == name }); i >= 0 {
		return protocol.Invalid("it has two clusters of the name %q: a context of the kubeconfig and one of Argo CD's", name)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &cluster
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	if user == nil {
		user = clientcmdapi.NewAuthInfo()
	}
	config.AuthInfos[name] = user
	flags := m.shared
	flags.loaded = config
	m.clusters = append(m.clusters, Cluster{Name: name, Server: strings.TrimSuffix(cluster.Server, "/"), namespace: m.namespace, flags: &flags, refused: refused})
	return nil
}

// fromKubeconfig adds the contexts that are named and those that the selector
// chooses.
func (m *maker) fromKubeconfig(f *Flags, multi protocol.MultiCluster) error {
	if len(multi.Contexts) == 0 && multi.Selector == "" {
		return nil
	}
	raw, err := f.raw(f.loader("", ""))
	if err != nil {
		return err
	}
	chosen, err := choose(raw, multi)
	if err != nil {
		return err
	}
	same := map[[2]string]string{}
	for _, name := range chosen {
		if err := f.checkContext(name, raw); err != nil {
			return err
		}
		context := raw.Contexts[name]
		place := [2]string{context.Cluster, context.AuthInfo}
		if other, ok := same[place]; ok {
			return protocol.Invalid("contexts %q and %q are the same cluster by the same user: a cluster is delivered to once", other, name)
		}
		same[place] = name
		user := raw.AuthInfos[context.AuthInfo]
		if context.AuthInfo != "" && user == nil {
			return protocol.Invalid("context %q of the kubeconfig names a user %q that is not in it", name, context.AuthInfo).
				WithHint("%s", known(context.AuthInfo, raw.AuthInfos))
		}
		if err := m.add(name, *raw.Clusters[context.Cluster], user, nil); err != nil {
			return err
		}
	}
	return nil
}

// choose returns the names of the contexts, sorted, those of the selector last.
func choose(raw clientcmdapi.Config, multi protocol.MultiCluster) ([]string, error) {
	chosen := slices.Clone(multi.Contexts)
	if multi.Selector == "" {
		return chosen, nil
	}
	selector, err := parseSelector("selector", multi.Selector)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(raw.Contexts)) {
		set, err := contextLabels(name, raw.Contexts[name])
		if err != nil {
			return nil, err
		}
		if selector.Matches(set) && !slices.Contains(chosen, name) {
			chosen = append(chosen, name)
		}
	}
	return chosen, nil
}

func parseSelector(field, text string) (labels.Selector, error) {
	selector, err := labels.Parse(text)
	if err != nil {
		return nil, protocol.Invalid("%s %q: %w", field, text, err).WithHint("it is written as kubectl's -l is: region=eu,tier!=canary")
	}
	return selector, nil
}

// contextLabels returns the labels of a context, which may have none.
func contextLabels(name string, context *clientcmdapi.Context) (labels.Set, error) {
	extension, ok := context.Extensions[LabelsExtension].(*runtime.Unknown)
	if !ok {
		return nil, nil
	}
	var set labels.Set
	if err := json.Unmarshal(extension.Raw, &set); err != nil {
		return nil, protocol.Invalid("extension %s of context %q of the kubeconfig: its fields are texts, such as region: eu (%w)", LabelsExtension, name, err)
	}
	return set, nil
}
