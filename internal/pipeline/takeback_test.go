package pipeline

import (
	"testing"

	"github.com/nationtech/harmony/internal/plugins/discovery"
	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/protocol"
)

// What a target does whose checks failed: it goes back where that is known to be
// possible, and says why where it stays.
func TestStays(t *testing.T) {
	upgraded := protocol.DeployResult{Outcome: protocol.OutcomeUpgraded, PreviousChart: "sha256:a", PreviousImage: "sha256:b", PreviousRevision: 3}
	with := func(change func(*protocol.DeployResult)) protocol.DeployResult {
		d := upgraded
		change(&d)
		return d
	}
	many := protocol.DeployResult{Outcome: protocol.OutcomeUpgraded, Clusters: &protocol.ClusterCount{Total: 2}}
	published := func(previous string, unchanged bool) protocol.DeployResult {
		return protocol.DeployResult{Outcome: protocol.OutcomePublished, PreviousChart: previous, Published: &protocol.PublishedState{Unchanged: unchanged}}
	}
	installed, unchanged := protocol.DeployResult{Outcome: protocol.OutcomeInstalled}, with(func(d *protocol.DeployResult) { d.Outcome = protocol.OutcomeUnchanged })
	irreversible := with(func(d *protocol.DeployResult) { d.Irreversible = "Job migrate" })
	const (
		firstRelease = "it is the first release there, and there is nothing to go back to"
		sameRelease  = "an earlier run brought it there, and this one changed nothing"
		cannot       = "the release before cannot come back: harmony.nationtech.io/irreversible on Job migrate"
	)
	for name, test := range map[string]struct {
		flag, target string
		lacks        bool
		deployed     protocol.DeployResult
		clusters     []protocol.DeployResult
		want         string
	}{
		"by default":                 {deployed: upgraded},
		"rollback":                   {target: "rollback", deployed: upgraded},
		"halt":                       {target: "halt", deployed: upgraded, want: "onSmokeFailure is halt"},
		"the flag wins":              {flag: "rollback", target: "halt", deployed: upgraded},
		"the flag halts":             {flag: "halt", target: "rollback", deployed: upgraded, want: "this release was told not to roll back"},
		"no deploy":                  {want: "this release did not deploy to it"},
		"plugin":                     {lacks: true, deployed: upgraded, want: "/bin/harmony-deploy has no command take-back"},
		"first release":              {deployed: installed, want: firstRelease},
		"unchanged":                  {deployed: unchanged, want: sameRelease},
		"irreversible":               {deployed: irreversible, want: cannot},
		"adopted":                    {deployed: with(func(d *protocol.DeployResult) { d.Adopted = "helm" }), want: "what ran before was not harmony's, but of helm"},
		"unknown":                    {deployed: with(func(d *protocol.DeployResult) { d.PreviousChart = "" }), want: "what ran before is not known"},
		"no image":                   {deployed: with(func(d *protocol.DeployResult) { d.PreviousImage = "" })},
		"devices":                    {deployed: published("sha256:a", false)},
		"devices, first release":     {deployed: published("", false), want: firstRelease},
		"devices, unchanged":         {deployed: published("sha256:a", true), want: sameRelease},
		"clusters":                   {deployed: many, clusters: []protocol.DeployResult{unchanged, upgraded}},
		"clusters, some are new":     {deployed: many, clusters: []protocol.DeployResult{installed, upgraded}},
		"clusters, all are new":      {deployed: many, clusters: []protocol.DeployResult{installed, unchanged}, want: firstRelease},
		"clusters, unchanged":        {deployed: many, clusters: []protocol.DeployResult{unchanged, unchanged}, want: sameRelease},
		"clusters, irreversible":     {deployed: many, clusters: []protocol.DeployResult{upgraded, irreversible}, want: cannot},
		"clusters that told nothing": {deployed: many, want: sameRelease},
	} {
		t.Run(name, func(t *testing.T) {
			info := protocol.PluginInfo{Commands: []string{"rollback", protocol.CommandTakeBack}}
			if test.lacks {
				info.Commands = info.Commands[:1]
			}
			r := Release{
				OnSmokeFailure: test.flag, Topology: protocol.Topology{Targets: map[string]protocol.Target{"staging": {OnSmokeFailure: test.target}}},
				stages: map[string]stagePlugin{capability.StageDeploy: {discovery.Plugin{Path: "/bin/harmony-deploy"}, info}},
			}
			if got := r.staysFor("staging", test.deployed, test.clusters); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestLastResultOfEachCluster(t *testing.T) {
	var b byCluster
	result := func(app, target, cluster string, outcome protocol.Outcome) {
		b.add(protocol.DeployResult{Metadata: protocol.Metadata{Name: app}, Target: target, Cluster: cluster, Outcome: outcome})
	}
	result("a", "production", "eu", protocol.OutcomeUpgraded)
	result("a", "production", "us", protocol.OutcomeUpgraded)
	result("b", "production", "eu", protocol.OutcomeInstalled)
	result("a", "staging", "eu", protocol.OutcomeInstalled)
	result("a", "production", "eu", protocol.OutcomeRolledBack)
	got := b.of("a", "production")
	if len(got) != 2 || got[0].Cluster != "us" || got[1].Outcome != protocol.OutcomeRolledBack {
		t.Errorf("got %+v", got)
	}
}
