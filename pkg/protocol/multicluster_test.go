package protocol_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/protocol"
)

func TestWavesOfClusters(t *testing.T) {
	for _, c := range []struct {
		waves    []any
		clusters int
		want     []int
	}{
		{nil, 1, []int{1}},
		{nil, 2, []int{1, 2}},
		{nil, 10, []int{1, 10}},
		{nil, 25, []int{1, 3, 25}},
		{nil, 500, []int{1, 50, 500}},
		{[]any{"100%"}, 7, []int{7}},
		{[]any{float64(3), "50%", "50%", "100%"}, 10, []int{3, 5, 10}},
		{[]any{20, "100%"}, 7, []int{7}},
		{[]any{"50%", 2, "100%"}, 10, []int{5, 10}},
		{[]any{1, int64(2)}, 3, []int{1, 2, 3}},
	} {
		if got := (protocol.MultiCluster{Waves: c.waves}).Ends(c.clusters); !slices.Equal(got, c.want) {
			t.Errorf("waves %v of %d clusters end at %v, want %v", c.waves, c.clusters, got, c.want)
		}
	}
	for waves := range 102 {
		for clusters := range 12 {
			ends := protocol.MultiCluster{Waves: []any{waves % 13, fmt.Sprintf("%d%%", waves%101), "100%"}}.Ends(clusters)
			if !slices.IsSorted(ends) || clusters > 0 && ends[len(ends)-1] != clusters || len(slices.Compact(slices.Clone(ends))) != len(ends) {
				t.Errorf("%d clusters: %v", clusters, ends)
			}
		}
	}
}

func TestFailuresAllowed(t *testing.T) {
	for _, c := range []struct {
		value any
		want  int
	}{{nil, 0}, {2, 2}, {float64(3), 3}, {"10%", 1}, {"0%", 0}, {"100%", 19}} {
		if got := (protocol.MultiCluster{MaxFailures: c.value}).Failures(19); got != c.want {
			t.Errorf("%v of 19: %d, want %d", c.value, got, c.want)
		}
	}
}

func TestValidateMultiCluster(t *testing.T) {
	for _, c := range []struct {
		name  string
		multi protocol.MultiCluster
		want  []string
	}{
		{"contexts", protocol.MultiCluster{Contexts: []string{"eu"}}, nil},
		{"a selector and waves", protocol.MultiCluster{Selector: "a=b", Waves: []any{1, float64(2), "10%", "100%"}, MaxFailures: "5%", Parallel: 3}, nil},
		{"Argo CD", protocol.MultiCluster{ArgoCD: &protocol.ArgoCDClusters{}}, nil},
		{"none", protocol.MultiCluster{}, []string{": names no clusters"}},
		{"wrong all over", protocol.MultiCluster{
			Contexts: []string{"eu", "", "eu"}, ArgoCD: &protocol.ArgoCDClusters{Namespace: "A"}, Waves: []any{0, "x", 1.5, -1, 5}, Parallel: -1, MaxFailures: "1",
		}, []string{
			".argocd.namespace", ".contexts[1]: is empty", ".contexts[2]", ".maxFailures", ".parallel", ".waves[0]: adds no cluster",
			".waves[1]: x is neither a number of clusters", ".waves[2]", ".waves[3]", ".waves[4]: the last wave is 100%",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.multi.Namespace = "fleet"
			err := protocol.Topology{Metadata: protocol.Metadata{Name: "ci"}, Targets: map[string]protocol.Target{"production": {MultiCluster: &c.multi}}}.Validate()
			var found protocol.FieldErrors
			if errors.As(err, &found); len(found) != len(c.want) {
				t.Fatalf("%d problems, want %d:\n%v", len(found), len(c.want), err)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(found[i].Error(), "spec.targets.production.multiCluster"+want) {
					t.Errorf("%q, want %q", found[i], want)
				}
			}
		})
	}
}

func TestCountOfClusters(t *testing.T) {
	var n protocol.ClusterCount
	for _, step := range []struct{ add, want protocol.Outcome }{
		{protocol.OutcomeAbsent, protocol.OutcomeAbsent}, {protocol.OutcomeGivenBack, protocol.OutcomeGivenBack},
		{protocol.OutcomeRemoved, protocol.OutcomeRemoved},
		{protocol.OutcomeSkipped, protocol.OutcomeRemoved}, {protocol.OutcomeUnchanged, protocol.OutcomeUnchanged},
		{protocol.OutcomeInstalled, protocol.OutcomeInstalled}, {protocol.OutcomeUpgraded, protocol.OutcomeUpgraded},
		{protocol.OutcomeRolledBack, protocol.OutcomeRolledBack}, {protocol.OutcomeFailed, protocol.OutcomeFailed},
		{protocol.OutcomeUpgraded, protocol.OutcomeFailed},
	} {
		if n.Add(step.add); n.Outcome() != step.want {
			t.Errorf("after %s: %s, want %s", step.add, n.Outcome(), step.want)
		}
	}
	if n != (protocol.ClusterCount{Total: 10, Removed: 1, Absent: 1, GivenBack: 1, Installed: 1, Upgraded: 2, Unchanged: 1, RolledBack: 1, Failed: 1, Skipped: 1}) {
		t.Errorf("%+v", n)
	}
}
