package protocol

import (
	"fmt"
	"math"
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
	// Waves say up to how many of the clusters each wave comes: a number, or a share
	// such as 10%, which is rounded up. The last one is 100%. They are 1, 10% and
	// 100% when absent.
	Waves []any `json:"waves,omitempty"`
	// Parallel is how many clusters of a wave are worked on at once; 8 when zero.
	Parallel int `json:"parallel,omitempty"`
	// MaxFailures is how many clusters may fail before the rollout stops: a number,
	// or a share of the clusters, which is rounded down. None when absent. A rollout
	// that went on has failed all the same, in the end.
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
	waves := m.Waves
	if len(waves) == 0 {
		waves = []any{1, "10%", wholeShare}
	}
	var ends []int
	last := 0
	for _, wave := range append(waves[:len(waves):len(waves)], wholeShare) {
		end := min(amount(wave, clusters, math.Ceil), clusters)
		if end > last {
			ends, last = append(ends, end), end
		}
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
	switch v := value.(type) {
	case int:
		return v
	case int64:
		return int(v)
	case float64:
		return int(v)
	case string:
		share, err := strconv.ParseFloat(strings.TrimSuffix(v, "%"), 64)
		if err == nil {
			return int(round(share * float64(total) / 100))
		}
	}
	return 0
}

func (m MultiCluster) validate(p *problems, field string) {
	validateNamespace(p, field+".namespace", m.Namespace)
	if len(m.Contexts) == 0 && m.Selector == "" && m.ArgoCD == nil {
		p.add(field, "names no clusters: it needs contexts, selector or argocd")
	}
	seen := map[string]bool{}
	for i, context := range m.Contexts {
		at := fmt.Sprintf("%s.contexts[%d]", field, i)
		switch {
		case context == "":
			p.add(at, "is empty")
		case seen[context]:
			p.add(at, "%q is named twice", context)
		}
		seen[context] = true
	}
	if a := m.ArgoCD; a != nil && a.Namespace != "" {
		validateNamespace(p, field+".argocd.namespace", a.Namespace)
	}
	for i, wave := range m.Waves {
		at := fmt.Sprintf("%s.waves[%d]", field, i)
		if countOrShareOf(p, at, wave, "clusters") && amount(wave, 100, math.Ceil) == 0 {
			p.add(at, "brings no cluster")
		}
	}
	if last := len(m.Waves) - 1; last >= 0 && m.Waves[last] != wholeShare {
		p.add(fmt.Sprintf("%s.waves[%d]", field, last), "the last wave is 100%%: no cluster is left out")
	}
	if m.Parallel < 0 {
		p.add(field+".parallel", "is negative")
	}
	if m.MaxFailures != nil {
		countOrShareOf(p, field+".maxFailures", m.MaxFailures, "clusters")
	}
}
