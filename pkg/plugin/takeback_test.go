package plugin_test

import (
	"context"
	"strings"
	"testing"

	"github.com/nationtech/harmony/pkg/capability"
	"github.com/nationtech/harmony/pkg/plugin"
	"github.com/nationtech/harmony/pkg/protocol"
)

// reverting is a fleet that notes what it is to go back from.
type reverting struct {
	fleet
	from *capability.Setback
}

func (r reverting) TakeBack(_ context.Context, app protocol.AppSpec, target string, from capability.Setback, each func(protocol.DeployResult)) (protocol.DeployResult, error) {
	*r.from = from
	result := protocol.DeployResult{Metadata: app.Metadata, Target: target, Outcome: protocol.OutcomeRolledBack, Cluster: "a", RunningVersion: "0.9.0"}
	each(result)
	result.Cluster = ""
	return result, r.err
}

func TestTakeBack(t *testing.T) {
	const head = `{"apiVersion":"harmony.nationtech.io/v1","kind":"`
	deployed := func(target, cluster, outcome string) string {
		return head + `DeployResult","metadata":{"name":"app","version":"1.0.0"},"spec":{"target":"` + target + `","adapter":"fleet","cluster":"` + cluster + `","outcome":"` + outcome + `","image":"","chart":""}}`
	}
	topology := strings.Replace(topologyLine, `"spec":{`, `"spec":{"continuousDelivery":{"adapter":"fleet"},`, 1)
	report := head + `SmokeReport","metadata":{"name":"app","version":"1.0.0"},"spec":{"target":"staging","passed":false,"checks":[{"name":"ready","type":"rollout","status":"passed","duration":"1s"},{"name":"devices","type":"http","status":"failed","duration":"1s"}]}}`
	stream := []string{topology, appLine("app"), deployed("staging", "a", "installed"), deployed("staging", "b", "upgraded"), deployed("staging", "a", "upgraded"),
		report, deployed("staging", "", "upgraded")}
	for name, test := range map[string]struct {
		adapter capability.ContinuousDelivery
		lines   []string
		code    int
		want    string
	}{
		"taken back":            {reverting{}, stream, 0, `"outcome":"rolled-back","image":"","chart":"","runningVersion":"0.9.0","message":"check devices failed"`},
		"it fails":              {reverting{fleet: fleet{&protocol.Error{Code: 4, Message: "away"}}}, stream, 4, `"code":4,"message":"away"`},
		"adapter cannot":        {fleet{}, stream, 3, `the adapter of target \"staging\" cannot take it back`},
		"no result":             {reverting{}, stream[:2], 2, "the documents on stdin end without its DeployResult"},
		"a result of a failure": {reverting{}, append(stream[:2:2], deployed("staging", "", "failed")), 2, "the documents on stdin end without its DeployResult"},
	} {
		t.Run(name, func(t *testing.T) {
			var from capability.Setback
			if r, ok := test.adapter.(reverting); ok {
				r.from = &from
				test.adapter = r
			}
			stage := plugin.TakeBack("1.0.0", plugin.Adapters[capability.ContinuousDelivery]{
				"fleet": func(context.Context, capability.Environment) (capability.ContinuousDelivery, error) {
					return test.adapter, nil
				},
			})
			code, written := run(t, stage, plugin.Invocation{Target: "staging"}, test.lines...)
			made := strings.Join(results(written, test.lines), "\n")
			if code != test.code || !strings.Contains(made, test.want) {
				t.Errorf("exit status %d, want %d; %s, want %s", code, test.code, made, test.want)
			}
			if test.code != 0 {
				return
			}
			if from.Reason != "check devices failed" || from.Deployed.Outcome != protocol.OutcomeUpgraded || len(from.Clusters) != 2 || from.On("a").Outcome != protocol.OutcomeUpgraded || from.On("").Cluster != "" {
				t.Errorf("to go back from: %+v", from)
			}
		})
	}
}
