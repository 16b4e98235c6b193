package protocol

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// MultiCluster is the same namespace of several clusters, which are delivered to
// wave by wave. The clusters are those that are named, in this order, then those
// that the selectors choose, by name.
type MultiCluster struct {
	// Contexts are contexts of the kubeconfig, by name.
	Contexts []string `json:"contexts,omitempty"`
	// Selector chooses contexts of the kubeconfig by their labels, as kubectl's -l
	// does: region=eu,tier!=canary. A context's labels are the fields of its
	// extension harmony.nationtech.io/labels.
	Selector string `json:"selector,omitempty"`
	// ArgoCD takes clusters from Argo CD.
	ArgoCD *ArgoCDClusters `json:"argocd,omitempty"`
	// Namespace is created on every cluster where it is absent.
	Namespace string `json:"namespace"`
	// Waves say up to how many of the clusters each wave comes, and what happens after
	// it. The last one is 100%. They are 1, 10% and 100% when absent.
	Waves []Wave `json:"waves,omitempty"`
	// Between happens after each wave that says nothing itself, but the last one.
	Between *Gate `json:"between,omitempty"`
	// Parallel is how many clusters of a wave are worked on at once; 8 when zero.
	Parallel int `json:"parallel,omitempty"`
	// MaxFailures is how many clusters may fail, in their deploy or in a check after a
	// wave, before the rollout stops: a number, or a share of the clusters, which is
	// rounded down. None when absent. A rollout that went on has failed all the same, in
	// the end.
	MaxFailures any `json:"maxFailures,omitempty"`
}

// ArgoCDClusters are clusters that Argo CD knows: its Secrets of the type
// cluster, with their names and credentials.
type ArgoCDClusters struct {
	// Selector chooses among them by the labels of their Secrets; all when empty.
	Selector string `json:"selector,omitempty"`
	// Context is the kubeconfig's for the cluster of Argo CD, the current one when
	// empty; Namespace is where its Secrets lie, argocd when empty.
	Context string `json:"context,omitempty"`
	// Namespace is Argo CD's; argocd when empty.
	Namespace string `json:"namespace,omitempty"`
}

// The defaults of a multiCluster target.
const (
	defaultParallel = 8
	wholeShare      = "100%"
)

// Ends are the waves of so many clusters: up to which of them each wave comes.
// A wave that would bring none is left out.
func (m MultiCluster) Ends(clusters int) []int {
	var ends []int
	for _, step := range m.Steps(clusters) {
		ends = append(ends, step.End)
	}
	return ends
}

// AtOnce is how many clusters are worked on at once.
func (m MultiCluster) AtOnce() int {
	if m.Parallel <= 0 {
		return defaultParallel
	}
	return m.Parallel
}

// Failures is how many of so many clusters may fail before the rollout stops.
func (m MultiCluster) Failures(clusters int) int { return amount(m.MaxFailures, clusters, math.Floor) }

// amount is a valid number or share of a total.
func amount(value any, total int, round func(float64) float64) int {
	if share, ok := value.(string); ok {
		percent, err := strconv.ParseFloat(strings.TrimSuffix(share, "%"), 64)
		if err != nil {
			return 0
		}
		return int(round(percent * float64(total) / 100))
	}
	if value == nil {
		return 0
	}
	return int(toFloat(value))
}

func (m MultiCluster) validate(p *problems, field string) {
	if !p.noPreview(field+".namespace", m.Namespace, "a preview is in one cluster") {
		p.namespace(field+".namespace", m.Namespace)
	}
	p.must(len(m.Contexts) > 0 || m.Selector != "" || m.ArgoCD != nil, field, "names no clusters: it needs contexts, selector or argocd")
	for i, context := range m.Contexts {
		at := fmt.Sprintf("%s.contexts[%d]", field, i)
		p.must(context != "", at, "is empty")
		p.must(context == "" || !slices.Contains(m.Contexts[:i], context), at, "%q is named twice", context)
	}
	if a := m.ArgoCD; a != nil && a.Namespace != "" {
		p.namespace(field+".argocd.namespace", a.Namespace)
	}
	m.validateWaves(p, field)
	p.notNegative(field+".parallel", int64(m.Parallel))
	p.countOrShare(field+".maxFailures", m.MaxFailures, "clusters")
}
