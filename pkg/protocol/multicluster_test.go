package protocol_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
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
		if got := (protocol.MultiCluster{Waves: protocol.Waves(c.waves...)}).Ends(c.clusters); !slices.Equal(got, c.want) {
			t.Errorf("waves %v of %d clusters end at %v, want %v", c.waves, c.clusters, got, c.want)
		}
	}
	for waves := range 102 {
		for clusters := range 12 {
			ends := protocol.MultiCluster{Waves: protocol.Waves(waves%13, fmt.Sprintf("%d%%", waves%101), "100%")}.Ends(clusters)
			if !slices.IsSorted(ends) || clusters > 0 && ends[len(ends)-1] != clusters || len(slices.Compact(slices.Clone(ends))) != len(ends) {
				t.Errorf("%d clusters: %v", clusters, ends)
			}
		}
	}
}

// What is to happen after a wave that brings no cluster happens after the one before, and
// what is for all waves only between two.
func TestGatesOfClusters(t *testing.T) {
	const minute = protocol.Duration(60e9)
	pause, wait, checks := protocol.Gate{Pause: true}, protocol.Gate{Wait: minute}, protocol.Gate{Checks: true}
	own := func(upTo any, g protocol.Gate) protocol.Wave { return protocol.Wave{UpTo: upTo, Gate: g, Own: true} }
	for _, c := range []struct {
		name     string
		multi    protocol.MultiCluster
		clusters int
		want     []protocol.WaveStep
	}{
		{"between", protocol.MultiCluster{Between: &checks}, 25, []protocol.WaveStep{{1, checks}, {3, checks}, {25, protocol.Gate{}}}},
		{"own, none and between", protocol.MultiCluster{Between: &checks, Waves: []protocol.Wave{own(1, wait), own(2, protocol.Gate{}), {UpTo: 3}, own("100%", pause)}}, 4,
			[]protocol.WaveStep{{1, wait}, {2, protocol.Gate{}}, {3, checks}, {4, pause}}},
		{"a pause after nobody", protocol.MultiCluster{Waves: []protocol.Wave{own(1, wait), own("10%", pause), {UpTo: "100%"}}}, 5,
			[]protocol.WaveStep{{1, protocol.Gate{Wait: minute, Pause: true}}, {5, protocol.Gate{}}}},
		{"one cluster", protocol.MultiCluster{Between: &checks, Waves: []protocol.Wave{{UpTo: 1}, {UpTo: "100%"}}}, 1, []protocol.WaveStep{{1, protocol.Gate{}}}},
	} {
		if got := c.multi.Steps(c.clusters); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestWaveInJSON(t *testing.T) {
	for _, text := range []string{`3`, `"10%"`, `{"upTo":3}`, `{"upTo":"10%","checks":true,"wait":"30m0s","pause":true}`} {
		var wave protocol.Wave
		err := json.Unmarshal([]byte(text), &wave)
		again, failed := json.Marshal(wave)
		if err != nil || failed != nil || string(again) != text || wave.Own != (text[0] == '{') {
			t.Errorf("%s: %+v, then %s, %v, %v", text, wave, again, err, failed)
		}
	}
}

// A deploy plugin that goes from wave to wave by itself is not given a target that asks for
// more.
func TestCheckTargetWithWaves(t *testing.T) {
	topology := protocol.Topology{Targets: map[string]protocol.Target{
		"staging":    {InCluster: &protocol.InCluster{}},
		"production": {MultiCluster: &protocol.MultiCluster{Between: &protocol.Gate{Checks: true}}},
	}}
	old := protocol.PluginInfo{Metadata: protocol.Metadata{Name: "deploy-acme", Version: "1.0.0"}, Stage: "deploy"}
	if err := old.CheckTarget(topology, "staging"); err != nil {
		t.Error(err)
	}
	if err := old.CheckTarget(topology, "production"); protocol.ExitCode(err) != protocol.ExitUnsupported || !strings.Contains(err.Error(), "harmony-deploy-acme") {
		t.Error(err)
	}
	knows := old
	knows.Features = []string{protocol.FeatureWaves}
	if err := knows.CheckTarget(topology, "production"); err != nil {
		t.Error(err)
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
		{"a selector and waves", protocol.MultiCluster{Selector: "a=b", Waves: protocol.Waves(1, float64(2), "10%", "100%"), MaxFailures: "5%", Parallel: 3}, nil},
		{"Argo CD", protocol.MultiCluster{ArgoCD: &protocol.ArgoCDClusters{}}, nil},
		{"none", protocol.MultiCluster{}, []string{": names no clusters"}},
		{"wrong all over", protocol.MultiCluster{
			Contexts: []string{"eu", "", "eu"}, ArgoCD: &protocol.ArgoCDClusters{Namespace: "A"}, Waves: protocol.Waves(0, "x", 1.5, -1, 5), Parallel: -1, MaxFailures: "1",
		}, []string{
			".argocd.namespace", ".contexts[1]: is empty", ".contexts[2]", ".maxFailures", ".parallel", ".waves[0]: adds no cluster",
			".waves[1]: x is neither a number of clusters", ".waves[2]", ".waves[3]", ".waves[4]: the last wave is 100%",
		}},
		{"gates", protocol.MultiCluster{Contexts: []string{"eu"}, Between: &protocol.Gate{Wait: -1}, Waves: []protocol.Wave{
			{UpTo: 0, Own: true}, {Own: true}, {UpTo: 2, Own: true, Gate: protocol.Gate{Analysis: []protocol.SmokeCheck{{Name: "a"}, {Name: "b", Rollout: &protocol.RolloutCheck{}, Needs: []string{"c"}}}}},
			{UpTo: "100%", Own: true, Gate: protocol.Gate{Checks: true}},
		}}, []string{
			".between.wait: is negative", ".waves[0].upTo: adds no cluster", ".waves[1].upTo: is required",
			".waves[2].analysis[0]: needs a kind", ".waves[2].analysis[1].needs[0]: no check is named",
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
